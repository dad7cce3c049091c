from tests.support.stub_child import main

main("portal")

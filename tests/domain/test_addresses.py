from proxy.domain.addresses import domain_of, local_part, templated


def test_parts() -> None:
    assert (local_part("alice@example.org"), domain_of("alice@example.org")) == ("alice", "example.org")
    assert (local_part("corp\\alice"), domain_of("corp\\alice")) == ("corp\\alice", "")


def test_what_is_filled_in_is_no_template() -> None:
    assert templated("{local} of {domain}, {account}", "{domain}@example.org") == (
        "{domain} of example.org, {domain}@example.org"
    )

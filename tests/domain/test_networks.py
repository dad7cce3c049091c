import pytest

from proxy.domain.networks import NetworkSet, lies_in, network_of, parse_address, site_of


@pytest.mark.parametrize(
    ("address", "network", "site"),
    [
        ("203.0.113.9", "203.0.113.9/32", None),
        ("::ffff:203.0.113.9", "203.0.113.9/32", None),
        ("2001:db8:1:2:3::9", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/64", "fe80::/48"),
        ("rubbish", "rubbish", None),
    ],
)
def test_what_one_attacker_surely_owns(address: str, network: str, site: str | None) -> None:
    assert network_of(address) == network
    assert site_of(network) == site


def test_a_set_of_networks() -> None:
    some = NetworkSet(["192.0.2.0/24", "2001:db8::/32"])
    assert "192.0.2.77" in some
    assert "::ffff:192.0.2.77" in some
    assert "2001:db8:ffff::1" in some
    assert "198.51.100.1" not in some
    assert "rubbish" not in some
    assert not NetworkSet([])
    assert "192.0.2.77" not in NetworkSet([])


def test_bad_networks_and_addresses_are_errors() -> None:
    with pytest.raises(ValueError):
        NetworkSet(["192.0.2.1/24"])
    with pytest.raises(ValueError):
        parse_address("999.2.3.4")


@pytest.mark.parametrize(
    ("network", "networks", "inside"),
    [
        ("192.0.2.0/25", ["198.51.100.0/24", "192.0.2.0/24"], True),
        ("192.0.2.0/24", ["192.0.2.0/24"], True),
        ("192.0.2.0/24", ["192.0.2.0/25", "192.0.2.128/25"], False),
        ("192.0.2.0/23", ["192.0.2.0/24"], False),
        ("2001:db8::1/128", ["2001:db8::/64"], True),
        ("2001:db8::/64", ["0.0.0.0/0"], False),
        ("0.0.0.0/1", ["::/0"], False),
        ("192.0.2.7/32", [], False),
    ],
)
def test_a_network_lies_in_one_that_holds_all_of_it(network: str, networks: list[str], inside: bool) -> None:
    assert lies_in(network, networks) is inside

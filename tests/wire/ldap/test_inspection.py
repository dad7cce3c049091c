"""What a bound client may not ask; and that looking at any request is cheap."""

import random
import time
from collections.abc import Iterator

import pytest

from proxy.domain.backend_login import ProxiedLogin
from proxy.domain.secret import Secret
from proxy.wire.events import BackendReady, Close, CloseBackend, LogInAgain, ToBackend, ToClient
from proxy.wire.ldap import grammar, inspection, replies
from proxy.wire.ldap.front import LdapFront
from proxy.wire.ldap.grammar import BerError
from proxy.wire.ldap.relay import LdapRelay
from tests.wire.ldap import requests as ldap
from tests.wire.ldap.test_front import maker

PASSES = None
NO = replies.NO_PASSWORDS


def verdict(raw: bytes):
    return inspection.refusal(grammar.parse(raw))


GUARDED = [
    "userPassword",
    "USERPASSWORD",
    "userpassword;binary",
    "userPassword;lang-en;x-y",
    " userPassword ",
    "userPassword ;binary",
    "2.5.4.35",
    "OID.2.5.4.35",
    "oid.2.5.4.35;binary",
    "authPassword",
    "unicodePwd",
    "1.2.840.113556.1.4.90",
    "sambaNTPassword",
    "1.3.6.1.4.1.7165.2.1.25",
    "krbPrincipalKey",
    "pwdHistory",
    "olcRootPW",
    "authzTo",
    "saslAuthzFrom",
    "msDS-KeyCredentialLink",
    "ms-Mcs-AdmPwd;range=0-1",
    "msSFU30Password",
    "altSecurityIdentities",
    "1.2.840.113556.1.4.1787",
    # what a parser in C, or a lenient one, could take for one of these
    "userPassword\0",
    "userPassword\0x",
    "userPassword\t",
    "2.5.4.035",
    "02.5.4.35",
    "cn" + "x" * 300,
]


@pytest.mark.parametrize("name", GUARDED)
def test_password_attributes_are_not_touched(name):
    assert verdict(ldap.modify(1, ldap.change(name, "x"))) == NO
    assert verdict(ldap.modify(1, ldap.change("cn", "x"), ldap.change(name))) == NO
    assert verdict(ldap.add(1, ldap.attribute("cn", "x"), ldap.attribute(name, "x"))) == NO
    assert verdict(ldap.compare(1, name)) == NO
    for tag in (0xA3, 0xA5, 0xA6, 0xA8):
        assert verdict(ldap.search(1, ldap.equal(name, tag=tag))) == NO
    substrings = ldap.tlv(0xA4, ldap.text(name), ldap.tlv(0x30, ldap.text("x", 0x80)))
    extensible = ldap.tlv(0xA9, ldap.text("2.5.13.17", 0x81), ldap.text(name, 0x82), ldap.text("x", 0x83))
    for item in (substrings, extensible):
        for wanted in (item, ldap.tlv(0xA2, item), ldap.tlv(0xA1, ldap.present(), ldap.tlv(0xA0, item))):
            assert verdict(ldap.search(1, wanted)) == NO


ACTIVE_DIRECTORY = """
    unicodePwd dBCSPwd ntPwdHistory lmPwdHistory supplementalCredentials currentValue priorValue initialAuthIncoming
    initialAuthOutgoing trustAuthIncoming trustAuthOutgoing pekList msDS-ExecuteScriptPassword msDS-ManagedPassword
    ms-Mcs-AdmPwd msLAPS-Password msLAPS-EncryptedPassword msLAPS-EncryptedPasswordHistory msLAPS-EncryptedDSRMPassword
    msLAPS-EncryptedDSRMPasswordHistory unixUserPassword msSFU30Password msFVE-RecoveryPassword msFVE-KeyPackage
    msTPM-OwnerInformation msPKIAccountCredentials msPKIDPAPIMasterKeys msPKI-CredentialRoamingTokens msKds-RootKeyData
    msDS-KeyCredentialLink altSecurityIdentities msDS-AllowedToActOnBehalfOfOtherIdentity msDS-AllowedToDelegateTo
"""


def test_what_active_directory_keeps_secret():
    for name in ACTIVE_DIRECTORY.split():
        assert verdict(ldap.compare(1, name)) == NO
        assert verdict(ldap.modify(1, ldap.change(name, "x"))) == NO


@pytest.mark.parametrize(
    "name",
    [
        "cn",
        "description;lang-en",
        "2.5.4.3",
        "pwdReset",
        "x-under_score",
        "mail",
        "oid.2.5.4.3",
        "msDS-UserAccountControlComputed",
    ],
)
def test_others_are(name):
    assert verdict(ldap.modify(1, ldap.change(name, "userPassword"))) is PASSES
    assert verdict(ldap.add(1, ldap.attribute(name, "x"))) is PASSES
    assert verdict(ldap.compare(1, name, "userPassword")) is PASSES
    assert verdict(ldap.search(1, ldap.equal(name, "userPassword"))) is PASSES


def test_presence_and_reading_pass():
    assert verdict(ldap.search(1, ldap.present("userPassword"))) is PASSES
    assert verdict(ldap.message(1, ldap.search_request(None, "userPassword", "*", "+"))) is PASSES
    assert verdict(ldap.search(1, ldap.tlv(0xA0))) is PASSES
    assert verdict(ldap.SEARCH_ROOT) is PASSES


def test_a_match_on_every_attribute_is_one_on_passwords():
    for rest in (ldap.text("x", 0x83), ldap.text("x", 0x83) + ldap.tlv(0x84, b"\xff")):
        assert verdict(ldap.search(1, ldap.tlv(0xA9, ldap.text("octetStringMatch", 0x81), rest))) == NO
    assert verdict(ldap.search(1, ldap.tlv(0xA9, ldap.text("cn", 0x82), ldap.text("x", 0x83)))) is PASSES


@pytest.mark.parametrize("rdn", ["userPassword=x", "uid=a+USERPASSWORD=x", "cn=a + oid.2.5.4.35 =x"])
def test_a_name_writes_attributes_too(rdn):
    assert verdict(ldap.modify_dn(1, rdn)) == NO
    assert verdict(ldap.modify_dn(1, "cn=userPassword", "ou=x")) is PASSES


def test_filters_in_controls():
    guess = ldap.equal("userPassword", "guess")
    for value, name in ((guess, b"1.3.6.1.1.12"), (ldap.tlv(0x30, guess), b"1.2.826.0.1.3344810.2.3")):
        assert verdict(ldap.search(1, None, ldap.control(name, True, value))) == NO
    harmless = ldap.control(b"1.3.6.1.1.12", True, ldap.equal("cn", "x"))
    assert verdict(ldap.search(1, None, harmless)) is PASSES


@pytest.mark.parametrize("name", [ldap.PROXIED, ldap.PROXIED_V1])
def test_nobody_says_who_they_are(name):
    request = ldap.extended(1, ldap.WHO_AM_I, None, ldap.control(ldap.PAGED), ldap.control(name, True, b"dn:cn=admin"))
    assert verdict(request) == (12, "Proxied authorization is not available")
    for critical in (False, None):
        assert verdict(ldap.search(1, None, ldap.control(name, critical, b"")))[0] == 2


def test_extended_operations():
    assert verdict(ldap.extended(1, ldap.WHO_AM_I)) is PASSES
    assert verdict(ldap.extended(1, ldap.CANCEL, ldap.tlv(0x30, ldap.number(2)))) is PASSES
    assert verdict(ldap.extended(1, ldap.PASSWORD_MODIFY, b"x")) == NO
    assert verdict(ldap.extended(1, ldap.START_TLS))[0] == 1
    for name in (b"1.2.3", b"1.3.6.1.1.21.1", ldap.WHO_AM_I + b"\0", b" " + ldap.WHO_AM_I, b""):
        assert verdict(ldap.extended(1, name))[0] == 2


# ---- an element that is not what it says --------------------------------------------------------

SECRET = ldap.change("userPassword", "x")
HIDDEN = {
    "a change in a change": ldap.modify(1, ldap.tlv(0x30, ldap.number(2, 10), ldap.attribute("cn", "x"), SECRET)),
    "a change in an attribute": ldap.modify(
        1, ldap.tlv(0x30, ldap.number(2, 10), ldap.tlv(0x30, ldap.text("cn"), ldap.tlv(0x31, ldap.text("x")), SECRET))
    ),
    "a change in the values": ldap.modify(
        1, ldap.tlv(0x30, ldap.number(2, 10), ldap.tlv(0x30, ldap.text("cn"), ldap.tlv(0x31, ldap.text("x"), SECRET)))
    ),
    "a value longer than the values": ldap.modify(
        1, ldap.tlv(0x30, ldap.number(2, 10), ldap.tlv(0x30, ldap.text("cn"), ldap.tlv(0x31, b"\x04\x10"))), SECRET
    ),
    "bytes behind the changes": ldap.message(
        1, ldap.tlv(0x66, ldap.text(ldap.ALICE), ldap.tlv(0x30, ldap.change("cn")), SECRET)
    ),
    "an attribute in an attribute": ldap.add(
        1, ldap.tlv(0x30, ldap.text("cn"), ldap.tlv(0x31), ldap.attribute("userPassword", "x"))
    ),
    "a string for a sequence": ldap.message(1, ldap.tlv(0x6E, ldap.text("cn=x"), ldap.text(b"\x04\x02cn\x04\x01x"))),
    "a compare's value": ldap.message(
        1, ldap.tlv(0x6E, ldap.text("cn=x"), ldap.tlv(0x30, ldap.text("cn"), b"\x04\x45")), ldap.control(b"1.2.3")
    ),
    "behind a compare": ldap.message(
        1, ldap.tlv(0x6E, ldap.text("cn=x"), ldap.tlv(0x30, ldap.text("cn"), ldap.text("x")), b"\x04\x45")
    ),
    "a filter in a filter": ldap.search(
        1, ldap.tlv(0xA0, ldap.tlv(0xA3, ldap.text("cn"), ldap.text("x"), ldap.equal("userPassword")))
    ),
    "a filter in substrings": ldap.search(
        1, ldap.tlv(0xA4, ldap.text("cn"), ldap.tlv(0x30, ldap.text("x", 0x80)), ldap.equal("userPassword"))
    ),
    "substrings too long": ldap.search(1, ldap.tlv(0xA4, ldap.text("cn"), ldap.tlv(0x30, b"\x80\x09x"))),
    "an unknown filter": ldap.search(1, ldap.tlv(0x83, ldap.text("userPassword"), ldap.text("x"))),
    "extensible out of order": ldap.search(1, ldap.tlv(0xA9, ldap.text("cn", 0x82), ldap.text("userPassword", 0x82))),
    "behind the attributes": ldap.message(1, ldap.search_request()[:1] + b"\x20" + b"\0" * 32),
    "attributes too long": ldap.message(1, ldap.tlv(0x63, ldap.search_request()[2:-2], ldap.tlv(0x30, b"\x04\x30"))),
    "a name too long": ldap.message(1, ldap.tlv(0x77, ldap.text(ldap.WHO_AM_I, 0x80), b"\x81\x4b")),
    "behind a name": ldap.message(
        1, ldap.tlv(0x6C, ldap.text("cn=x"), ldap.text("cn=y"), ldap.tlv(1, b"\0"), ldap.text("z", 0x80), b"\x04\x4b")
    ),
    "a control in a control": ldap.search(
        1,
        None,
        ldap.tlv(0x30, ldap.text(b"1.2.3"), ldap.text("x"), ldap.control(ldap.PROXIED, True, b"dn:cn=admin")),
    ),
    "a control over the next": ldap.search(1, None, ldap.tlv(0x30, ldap.text(b"1.2.3"), b"\x04\x49")),
    "abandon of nothing": ldap.message(1, ldap.tlv(0x50)),
}


@pytest.mark.parametrize("raw", HIDDEN.values(), ids=HIDDEN)
def test_nothing_hides_behind_an_elements_end(raw):
    """OpenLDAP 2.5 acts on what is hidden in most of these: it does not look where an enclosing element ends."""
    with pytest.raises(BerError):
        verdict(raw)


def substrings(*parts: bytes) -> bytes:
    return ldap.tlv(0xA4, ldap.text("cn"), ldap.tlv(0x30, *parts))


INITIAL, ANY, FINAL = (ldap.text("x", tag) for tag in (0x80, 0x81, 0x82))
MISSHAPEN = {
    "nothing negated": ldap.tlv(0xA2),
    "two negated": ldap.tlv(0xA2, ldap.present(), ldap.present()),
    "no substring": substrings(),
    "an empty substring": substrings(INITIAL, ldap.tlv(0x81), FINAL),
    "initial twice": substrings(INITIAL, INITIAL),
    "initial in the middle": substrings(ANY, INITIAL),
    "any behind the final": substrings(FINAL, ANY),
    "final twice": substrings(FINAL, FINAL),
    "another substring": substrings(ANY, ldap.text("x", 0x83)),
    "a string for a substring": substrings(ldap.text("x"), ANY),
    "no value to match": ldap.tlv(0xA9, ldap.text("cn", 0x82)),
}


@pytest.mark.parametrize("wanted", MISSHAPEN.values(), ids=MISSHAPEN)
def test_filters_that_a_backend_might_give_up_on(wanted):
    """OpenLDAP reads on in the middle of most of them: tests/real/ldap/test_rights.py."""
    for one in (wanted, ldap.tlv(0xA2, wanted), ldap.tlv(0xA0, ldap.present(), ldap.tlv(0xA1, wanted))):
        assert verdict(ldap.search(1, one)) == replies.NO_FILTER
        assert verdict(ldap.search(1, None, ldap.control(b"1.3.6.1.1.12", True, one))) == replies.NO_FILTER
    assert replies.NO_FILTER[0] == 2


def test_substrings_pass():
    for parts in ([INITIAL], [ANY], [FINAL], [INITIAL, FINAL], [INITIAL, ANY, ANY, FINAL], [ANY, ANY], [ANY, FINAL]):
        assert verdict(ldap.search(1, substrings(*parts))) is PASSES


# ---- bounds -----------------------------------------------------------------------------------


def nested(depth: int, tag: int = 0xA2) -> bytes:
    wanted = ldap.present()
    for _ in range(depth - 1):
        wanted = ldap.tlv(tag, wanted)
    return ldap.search(1, wanted)


@pytest.mark.parametrize("tag", [0xA0, 0xA1, 0xA2])
def test_filters_within_filters(tag):
    assert verdict(nested(100, tag)) is PASSES
    for depth in (101, 1000, 20000):
        with pytest.raises(BerError):
            verdict(nested(depth, tag))


MANY = {
    "or": lambda count: ldap.search(1, ldap.tlv(0xA1, ldap.equal("cn") * count)),
    "empty and": lambda count: ldap.search(1, ldap.tlv(0xA1, ldap.tlv(0xA0) * count)),
    "substrings": lambda count: ldap.search(
        1, ldap.tlv(0xA4, ldap.text("cn"), ldap.tlv(0x30, ldap.text("x", 0x81) * count))
    ),
    "changes": lambda count: ldap.modify(1, ldap.change("cn", "x") * count),
    "attributes": lambda count: ldap.add(1, ldap.attribute("cn", "x") * count),
}


@pytest.mark.parametrize("many", MANY.values(), ids=MANY)
def test_parts_are_counted(many):
    assert verdict(many(500)) is PASSES
    assert verdict(many(5000)) == replies.TOO_LARGE
    assert replies.TOO_LARGE[0] == 53


def test_values_are_counted_apart():
    members = ["x" * 20] * inspection.MAX_VALUES
    assert verdict(ldap.modify(1, ldap.change("member", *members))) is PASSES
    assert verdict(ldap.add(1, ldap.attribute("member", *members, "x"))) == replies.TOO_LARGE
    assert verdict(ldap.modify(1, ldap.change("member", *members), ldap.change("cn", "x"))) == replies.TOO_LARGE


def test_values_written_the_long_way_count_as_several():
    value = b"\x04\x84\0\0\0\x01x"
    for count, expected in ((1600, PASSES), (1700, replies.TOO_LARGE)):
        assert verdict(ldap.add(1, ldap.tlv(0x30, ldap.text("member"), ldap.tlv(0x31, value * count)))) == expected


# ---- a mutating generator, after the idea of PROTOS c06 ------------------------------------------

MIB = 1024 * 1024


def heavy() -> Iterator[bytes]:
    """As much to look at as fits into a message."""
    room = MIB - 200
    yield nested(100, 0xA0)
    yield nested(20000)
    for one in (
        ldap.equal("cn"),
        ldap.equal(""),
        ldap.tlv(0xA0),
        ldap.present("pw"),
        ldap.equal("pwReset"),
        ldap.equal("a;b"),
        ldap.equal("2.5.4.3"),
        b"\x87\0",
    ):
        for count in (inspection.MAX_PARTS - 2, room // len(one)):
            yield ldap.search(1, ldap.tlv(0xA1, one * count))
            yield ldap.search(1, ldap.tlv(0xA0, ldap.tlv(0xA1, one * (count // 2)) * 2))
            if count < 5000:
                yield ldap.search(1, None, ldap.control(b"1.3.6.1.1.12", True, ldap.tlv(0xA1, one * count)))
    comb = ldap.tlv(0xA0, (b"\x87\0" * 19) * 1)
    for _ in range(98):
        comb = ldap.tlv(0xA0, b"\x87\0" * 19, comb)
    yield ldap.search(1, comb)
    yield ldap.search(1, ldap.tlv(0xA9, b"\x80\0" * (room // 2)))
    yield ldap.search(1, ldap.tlv(0xA9, ldap.text("pw" * 100000, 0x82), ldap.text("x", 0x83)))
    yield ldap.search(1, ldap.equal("cn", "pw" * (room // 2)))
    yield ldap.search(1, ldap.equal("userpassword " * (room // 13), "x"))
    yield ldap.search(1, ldap.tlv(0xA4, ldap.text("cn"), ldap.tlv(0x30, b"\x81\x01x" * (room // 3))))
    yield ldap.message(1, ldap.search_request(None, *["x"] * (room // 3)))
    yield ldap.message(1, ldap.search_request(None, *["x"] * inspection.MAX_VALUES))
    for values in (["x"] * inspection.MAX_VALUES, [""] * (room // 2), ["x" * 130] * 7000):
        yield ldap.modify(1, ldap.change("member", *values))
        yield ldap.add(1, ldap.attribute("member", *values))
    long_way = b"\x04\x84\0\0\0\x01x" * inspection.MAX_VALUES
    yield ldap.add(1, ldap.tlv(0x30, ldap.text("member"), ldap.tlv(0x31, long_way)))
    for change in (ldap.change("cn", *["x"] * 7), ldap.change("a;b"), ldap.change("a")):
        yield ldap.modify(1, change * (inspection.MAX_CHANGES - 1))
        yield ldap.modify(1, change * (room // len(change)))
    yield ldap.modify_dn(1, "," * room)
    yield ldap.modify_dn(1, "," * inspection.MAX_RDN)
    yield ldap.compare(1, ";" * room)
    yield ldap.delete(1)[:-37] + b""
    yield ldap.search(1, None, *[ldap.control(b"1.2.3", False, b"v" * 30000)] * 32)
    yield ldap.search(1, None, *[ldap.control(b"1.2.3")] * 40000)
    yield ldap.search(1, None, ldap.control(b"1." * 100000 + b"1", True))
    yield ldap.search(1, None, ldap.control(b"9" * room))
    yield ldap.extended(1, b"1." * (room // 2))
    yield ldap.tlv(0x30, ldap.tlv(2, b"\1" * room))


SEEDS = [
    ldap.BIND_ALICE,
    ldap.SEARCH_ROOT,
    ldap.START_TLS_REQUEST,
    ldap.UNBIND,
    ldap.bind(2, ldap.ALICE, "x", ldap.control(ldap.PAGED, True, b"v")),
    ldap.search(
        3, ldap.tlv(0xA0, ldap.equal("cn"), ldap.tlv(0xA2, ldap.present())), ldap.control(ldap.PAGED, False, b"v")
    ),
    ldap.search(4, ldap.tlv(0xA4, ldap.text("cn"), ldap.tlv(0x30, ldap.text("x", 0x80), ldap.text("y", 0x82)))),
    ldap.search(5, ldap.tlv(0xA9, ldap.text("2.5.13.2", 0x81), ldap.text("cn", 0x82), ldap.text("x", 0x83))),
    ldap.modify(6, ldap.change("cn", "x", "y"), ldap.change("mail")),
    ldap.add(7, ldap.attribute("cn", "x"), ldap.attribute("sn", "y")),
    ldap.delete(8),
    ldap.modify_dn(9, "cn=y", "ou=z"),
    ldap.compare(10, "cn"),
    ldap.abandon(11, 10),
    ldap.extended(12, ldap.WHO_AM_I),
    ldap.extended(13, ldap.CANCEL, b"\x30\x03\x02\x01\x0c"),
]
LENGTHS = [
    b"\x00",
    b"\x01",
    b"\x7f",
    b"\x80",
    b"\x81\xff",
    b"\x82\xff\xff",
    b"\x84\xff\xff\xff\xff",
    b"\x84\x7f\xff\xff\xff",
]
LENGTHS += [b"\x85\x00\x00\x00\x00\x01", b"\xff", b"\x84\x00\x00\x00\x05", b"\x81\x05", b"\x83\x00\x00"]


def mutated(count: int) -> Iterator[bytes]:
    """Requests with tags, lengths and contents gone wrong; half of them framed well, so that they are looked into."""
    rng = random.Random(4511)
    for _ in range(count):
        body = bytearray(rng.choice(SEEDS)[2:])
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            at = rng.randrange(len(body))
            match rng.randrange(8):
                case 0:
                    body[at] = rng.randrange(256)
                case 1:
                    body[at : at + 1] = rng.choice(LENGTHS)
                case 2:
                    del body[at : at + rng.randrange(1, 9)]
                case 3:
                    body[at:at] = rng.randbytes(rng.randrange(1, 9))
                case 4:
                    body[at:at] = body[at : at + rng.randrange(1, 30)] * rng.choice((1, 2, 50, 1000))
                case 5:
                    body[at] ^= 1 << rng.randrange(8)
                case 6:
                    body[at : at + 2] = rng.choice((b"\x30\x80", b"\x1f\x81", b"\xbf\x20", b"\x04\x7f", b"\xa0\x00"))
                case _:
                    body[at:] = rng.choice(SEEDS)
            if not body:
                body += b"\0"
        framed = rng.randrange(4)
        if framed:
            yield ldap.tlv(0x30, bytes(body), octets=rng.choice((0, 0, 0, 4)))
        else:
            yield b"\x30" + rng.choice(LENGTHS) + bytes(body)


def fed(data: bytes) -> None:
    """To a front and to a relay, which answer with events whatever comes."""
    ready = BackendReady(b"", login=ProxiedLogin("cn=s", Secret("pw"), "dn:cn=alice"))
    relay = LdapRelay(ready)
    for event in relay.client_data(data) + LdapRelay(ready).backend_data(data):
        assert isinstance(event, ToBackend | ToClient | CloseBackend | Close | LogInAgain)
    machine = new_front()
    assert isinstance(machine, LdapFront)
    machine.connected(tls=True)
    machine.receive_data(data)


new_front = maker(starttls=True)


def cost(data: bytes) -> float:
    start = time.process_time()
    fed(data)
    return time.process_time() - start


def patiently(data: bytes) -> float:
    """The least of many tries over half a second: what a busy machine adds is not the message's fault."""
    least = cost(data)
    for _ in range(20):
        time.sleep(0.025)
        least = min(least, cost(data))
    return least


def test_hostile_messages_end_in_events_and_cost_next_to_nothing():
    messages = [*heavy(), *mutated(12_000)]
    fed(messages[0])
    slow = [data for data in messages if cost(data) > 0.005]
    slow = [data for data in slow if patiently(data) > 0.005]
    assert [(data[:40], len(data), cost(data)) for data in slow] == []


def test_the_generator_reaches_far_enough():
    """Some pass, some are refused, most are malformed; else the test above would prove little."""
    outcomes = {"passed": 0, "refused": 0, "malformed": 0}
    for data in mutated(3000):
        try:
            grammar.length(data, 0, MIB)
            outcome = "passed" if verdict(data) is None else "refused"
        except BerError:
            outcome = "malformed"
        outcomes[outcome] += 1
    assert min(outcomes.values()) > 20, outcomes

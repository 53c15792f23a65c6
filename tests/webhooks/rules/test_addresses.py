"""The URLs and the addresses that webhooks may be sent to."""

from ipaddress import ip_address

import pytest

from app.webhooks.addresses import reason_to_refuse, target_of

PUBLIC = ["93.184.216.34", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.255.255", "2606:4700::1111", "::ffff:1.1.1.1",
          "64:ff9b::1.1.1.1"]  # fmt: skip
PRIVATE = ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "127.0.0.1", "127.1.2.3", "::1",
           "fd12::1", "fc00::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::192.168.0.1"]  # fmt: skip
NEVER = [
    "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "::",
    "fe80::1", "fe80::1%eth0", "fec0::1", "224.0.0.1", "239.255.255.255", "ff02::1", "240.0.0.1", "255.255.255.255",
    "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "2002:a00:1::",
    "2001:0:1::1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::169.254.169.254", "64:ff9b:1::1", "100::1",
    "::1.2.3.4",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address):
    assert reason_to_refuse(ip_address(address), allow_private=False) is None


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_allowed_by_the_setting_alone(address):
    assert reason_to_refuse(ip_address(address), allow_private=False) == "a private address"
    assert reason_to_refuse(ip_address(address), allow_private=True) is None


@pytest.mark.parametrize("address", NEVER)
def test_an_address_of_metadata_or_of_no_server_is_never_allowed(address):
    assert reason_to_refuse(ip_address(address), allow_private=True) is not None


@pytest.mark.parametrize(
    ("url", "authority", "port", "path"),
    [
        ("https://ops.example.com", "ops.example.com", 443, "/"),
        ("https://ops.example.com:8443/hook?team=a#"[:-1], "ops.example.com:8443", 8443, "/hook?team=a"),
        ("https://[2606:4700::1111]/x", "[2606:4700::1111]", 443, "/x"),
        ("https://1.1.1.1?x", "1.1.1.1", 443, "/?x"),
    ],
)
def test_a_url_is_taken_apart_in_one_place(url, authority, port, path):
    target = target_of(url, allow_private=False)

    assert (target.authority, target.port, target.path) == (authority, port, path)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://ops.example.com/", "not encrypted"),
        ("ftp://ops.example.com/", "not the URL of a server"),
        ("ops.example.com/hook", "not the URL of a server"),
        ("https:///hook", "not the URL of a server"),
        ("https://user:pw@ops.example.com/", "user name or password"),
        ("https://ops.example.com@10.0.0.1/", "user name or password"),
        ("https://10.0.0.1/", "a private address"),
        ("https://[::1]/", "a private address"),
        ("https://[::ffff:127.0.0.1]/", "a private address"),
        ("https://169.254.169.254/latest", "no public address"),
        ("https://ops.example.com/#x", "fragment"),
        ("https://ops.example.com:0/", "port 0"),
        ("https://ops.example.com:99999/", "not a URL"),
        ("https://[::1/", "not a URL"),
        ("https://ops.example.com/a b", "spaces"),
        ("https://ops.example.com\\@10.0.0.1/", "backslashes"),
        ("https://öps.example.com/", "ASCII"),
        ("https://ops.example.com\r\nHost: x/", "spaces"),
        ("https://op$.example.com/", "host name"),
    ],
)
def test_another_url_is_refused_with_the_remedy(url, message):
    with pytest.raises(ValueError, match=message):
        target_of(url, allow_private=False)


def test_the_setting_allows_http_and_private_addresses():
    assert target_of("http://127.0.0.1:8080/hook", allow_private=True).authority == "127.0.0.1:8080"

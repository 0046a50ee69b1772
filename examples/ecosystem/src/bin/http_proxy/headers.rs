//! Which headers pass a proxy, and which it adds (RFC 9110, 7.6).
#![forbid(unsafe_code)]

use hyper::header::{CONNECTION, COOKIE, HOST, HeaderName, HeaderValue, TE, UPGRADE, VIA};
use hyper::http::uri::Authority;
use hyper::{HeaderMap, StatusCode, Version};
use std::net::IpAddr;

/// Those that concern one connection only, whatever `Connection` lists besides.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    // Of an upgrade to HTTP/2, which is not passed on.
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Whether a message asks to go on with WebSocket, or agrees to it: that and nothing else. An upgrade to
/// HTTP/2 (`h2c`) that is passed on would open a connection on which requests pass the proxy unseen.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    let asks = listed(headers).any(|name| name == UPGRADE);
    let mut protocols = headers.get_all(UPGRADE).iter();
    let is_first = protocols.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    asks && is_first && protocols.next().is_none()
}

/// The names that `Connection` lists.
fn listed(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> + '_ {
    let lists = headers.get_all(CONNECTION).into_iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok())
}

/// Takes the host that a request is for out of its head. What its target names counts, and `Host` only where
/// that names none (RFC 9112, 3.2.2; RFC 9113, 8.3.1). It is to be taken before [`strip`]: a client that has
/// `Connection` list `host` would have none.
///
/// # Errors
/// If `Host` is there more than once or is none, whether it counts or not (RFC 9112, 3.2): who reads the
/// request behind the proxy could take another one for the host than the proxy does.
pub(crate) fn take_host(
    headers: &mut HeaderMap,
    target: Option<&Authority>,
) -> Result<Option<HeaderValue>, NoHost> {
    let mut lines = headers.get_all(HOST).iter();
    if lines.next().is_some_and(|host| !is_host(host)) || lines.next().is_some() {
        return Err(NoHost);
    }
    // An empty one is that of a target without a host.
    let host = headers.remove(HOST).filter(|host| !host.is_empty());
    let Some(target) = target else { return Ok(host) };
    // Who asks, and with which password, is no part of the host.
    let named = target.as_str().rsplit_once('@').map_or(target.as_str(), |(_, host)| host);
    Ok(named.parse().ok())
}

/// `Host` does not say one host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoHost;

/// Whether this is nothing, or a host with a port or without, and nothing else.
fn is_host(value: &HeaderValue) -> bool {
    let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    value.is_empty()
        || Authority::try_from(value.as_bytes()).is_ok_and(|host| {
            let rest = host.as_str().strip_prefix(host.host());
            !host.host().is_empty()
                && rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
        })
}

/// Removes what must not be passed on; what holds for the next connection, too, is put back by who passes it
/// on.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = listed(headers).collect();
    for name in listed {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// As [`strip`], of a response. The protocols that a 426 asks for stay: it must name them (RFC 9110,
/// 15.5.22).
pub(crate) fn strip_response(headers: &mut HeaderMap, status: StatusCode) {
    let names = status == StatusCode::UPGRADE_REQUIRED;
    let protocols: Vec<HeaderValue> = headers.get_all(UPGRADE).iter().filter(|_| names).cloned().collect();
    strip(headers);
    if !protocols.is_empty() {
        headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    for protocol in protocols {
        headers.append(UPGRADE, protocol);
    }
}

/// Whether the client takes trailers, which the proxy passes on.
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    let mut lists = headers.get_all(TE).iter().filter_map(|list| list.to_str().ok());
    lists.any(|list| list.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers")))
}

/// Says that trailers are welcome; that, too, is of one connection only.
pub(crate) fn put_trailers(headers: &mut HeaderMap) {
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.append(CONNECTION, HeaderValue::from_static("TE"));
}

/// Asks for WebSocket, or agrees to it.
pub(crate) fn put_websocket(headers: &mut HeaderMap) {
    headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Puts the pieces together in which HTTP/2 may send a cookie (RFC 9113, 8.2.3): HTTP/1 has one line for it.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(COOKIE, cookie);
    }
}

/// Says that the request has come this way, and in which version.
pub(crate) fn put_via(headers: &mut HeaderMap, version: Version) {
    let via = match version {
        Version::HTTP_2 => "2.0 http_proxy",
        Version::HTTP_10 => "1.0 http_proxy",
        _ => "1.1 http_proxy",
    };
    headers.append(VIA, HeaderValue::from_static(via));
}

/// Says whom the request is from and what it asked for. Of what the client says of that, the addresses of
/// proxies before this one are kept.
pub(crate) fn forwarded(headers: &mut HeaderMap, peer: IpAddr, over_tls: bool, host: Option<HeaderValue>) {
    let before = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let mut chain: Vec<String> = before.map(str::to_owned).collect();
    chain.push(peer.to_string());
    if let Ok(chain) = chain.join(", ").parse::<HeaderValue>() {
        headers.insert("x-forwarded-for", chain);
    }
    let proto = if over_tls { "https" } else { "http" };
    headers.insert("x-forwarded-proto", HeaderValue::from_static(proto));
    // Beside ours, an upstream might read these, which nobody vouches for.
    for claimed in ["forwarded", "x-forwarded-host", "x-forwarded-port", "x-real-ip"] {
        headers.remove(claimed);
    }
    if let Some(host) = host {
        headers.insert("x-forwarded-host", host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn what_concerns_one_connection_is_removed_and_the_rest_stays() {
        let mut all = headers(&[
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("te", "gzip, trailers"),
            ("accept", "*/*"),
        ]);
        assert!(takes_trailers(&all));
        strip(&mut all);
        assert_eq!(all, headers(&[("accept", "*/*")]));
        put_trailers(&mut all);
        assert_eq!(all, headers(&[("accept", "*/*"), ("te", "trailers"), ("connection", "TE")]));
        assert!(!takes_trailers(&headers(&[("te", "gzip, x-trailers")])));
    }

    #[test]
    fn a_cookie_in_pieces_is_put_together_and_others_are_left_alone() {
        let mut crumbs = headers(&[("accept", "a"), ("accept", "b")]);
        for crumb in ["a=1", "b=2", "c=3"] {
            crumbs.append(COOKIE, HeaderValue::from_static(crumb));
        }
        join_cookies(&mut crumbs);
        assert_eq!(crumbs.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
        let mut none = HeaderMap::new();
        join_cookies(&mut none);
        assert!(none.is_empty());
    }

    #[test]
    fn an_upgrade_is_what_connection_asks_for_and_to_websocket_alone() {
        let asks = |connection, protocols: &[&'static str]| {
            let mut all = headers(&[("connection", connection)]);
            for protocol in protocols {
                all.append(UPGRADE, HeaderValue::from_static(protocol));
            }
            is_websocket(&all)
        };
        assert!(asks("keep-alive, Upgrade", &["websocket"]));
        assert!(asks("upgrade", &["WebSocket"]));
        assert!(!asks("keep-alive", &["websocket"]), "named, but not asked for");
        assert!(!asks("upgrade", &[]));
        for others in [&["h2c"][..], &["websocket, h2c"], &["h2c, websocket"], &["websocket", "h2c"]] {
            assert!(!asks("upgrade", others), "{others:?}");
        }
    }

    #[test]
    fn a_chain_of_proxies_is_continued_and_a_claimed_origin_replaced() {
        let mut from = headers(&[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("x-forwarded-port", "1"),
            ("x-real-ip", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6;host=evil"),
        ]);
        let peer = IpAddr::from([10, 0, 0, 2]);
        forwarded(&mut from, peer, false, Some(HeaderValue::from_static("a")));
        let mut expected =
            headers(&[("x-forwarded-for", "10.0.0.1, 10.0.0.2"), ("x-forwarded-proto", "http")]);
        expected.insert("x-forwarded-host", HeaderValue::from_static("a"));
        assert_eq!(from, expected);
        from.remove("x-forwarded-for");
        forwarded(&mut from, peer, false, None);
        assert_eq!(from, headers(&[("x-forwarded-for", "10.0.0.2"), ("x-forwarded-proto", "http")]));
    }

    #[test]
    fn the_host_is_the_targets_before_the_header_and_without_a_password() {
        let taken = |target: Option<&str>, host: &[(&'static str, &'static str)]| {
            let (mut all, target) = (headers(host), target.map(|target| target.parse().unwrap()));
            let taken = take_host(&mut all, target.as_ref()).unwrap();
            assert!(all.is_empty(), "the upstream has its own: {all:?}");
            taken.map(|host| host.to_str().unwrap().to_owned())
        };
        let evil = [("host", "evil.example")];
        assert_eq!(taken(Some("a.example:8080"), &evil).as_deref(), Some("a.example:8080"));
        assert_eq!(taken(Some("me:secret@a.example"), &[]).as_deref(), Some("a.example"));
        assert_eq!(taken(None, &evil).as_deref(), Some("evil.example"));
        assert_eq!(taken(None, &[]), None);
        assert_eq!(taken(None, &[("host", "")]), None);
    }

    #[test]
    fn a_host_that_is_none_is_an_error_whatever_the_target_names() {
        let target = Authority::from_static("a.example");
        for (host, is_one) in [
            ("a.example", true),
            ("a.example:8080", true),
            ("[::1]:8080", true),
            ("me@a.example", false),
            ("a.example, b.example", false),
            ("a.example/path", false),
            ("a.example:http", false),
            (":80", false),
            ("[::1", false),
        ] {
            for target in [None, Some(&target)] {
                let taken = take_host(&mut headers(&[("host", host)]), target);
                assert_eq!(taken.is_ok(), is_one, "{host}");
            }
        }
        let mut two = headers(&[("host", "a.example"), ("host", "b.example")]);
        assert_eq!(take_host(&mut two, None), Err(NoHost));
    }

    #[test]
    fn the_protocols_that_a_426_asks_for_stay_and_those_of_other_answers_do_not() {
        let answer =
            || headers(&[("upgrade", "websocket"), ("connection", "upgrade, x-hop"), ("x-hop", "1")]);
        let (mut asks, mut offers) = (answer(), answer());
        strip_response(&mut asks, StatusCode::UPGRADE_REQUIRED);
        assert_eq!(asks, headers(&[("upgrade", "websocket"), ("connection", "upgrade")]));
        strip_response(&mut offers, StatusCode::OK);
        assert!(offers.is_empty(), "{offers:?}");
    }
}

//! Which headers pass a proxy, and which it adds (RFC 9110, 7.6).
#![forbid(unsafe_code)]

use hyper::HeaderMap;
use hyper::header::{CONNECTION, HOST, HeaderName, HeaderValue, TE, UPGRADE};
use std::net::IpAddr;

/// Those that concern one connection only, whatever `Connection` lists besides.
const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// The protocol a message asks to go on with, if its connection is to be upgraded.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = listed(headers).any(|name| name == UPGRADE);
    headers.get(UPGRADE).filter(|_| asks).cloned()
}

/// The names that `Connection` lists.
fn listed(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> + '_ {
    let lists = headers.get_all(CONNECTION).into_iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok())
}

/// Removes what must not be passed on; an upgrade is put back by who passes it on.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = listed(headers).collect();
    // That trailers are welcome holds for the way behind the proxy, too.
    let trailers = headers.get_all(TE).iter().any(|te| te.to_str().is_ok_and(|te| te.contains("trailers")));
    for name in listed {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(TE);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Asks for an upgrade, or agrees to it.
pub(crate) fn put_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Says whom the request is from and what it asked for.
pub(crate) fn forwarded(headers: &mut HeaderMap, peer: IpAddr, over_tls: bool, authority: Option<&str>) {
    let before = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let mut chain: Vec<String> = before.map(str::to_owned).collect();
    chain.push(peer.to_string());
    if let Ok(chain) = chain.join(", ").parse::<HeaderValue>() {
        headers.insert("x-forwarded-for", chain);
    }
    let proto = if over_tls { "https" } else { "http" };
    headers.insert("x-forwarded-proto", HeaderValue::from_static(proto));
    let host = headers.remove(HOST).or_else(|| authority.and_then(|host| host.parse().ok()));
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
            ("te", "gzip, trailers"),
            ("accept", "*/*"),
        ]);
        assert_eq!(upgrade(&all), None, "named, but not asked for");
        strip(&mut all);
        assert_eq!(all, headers(&[("accept", "*/*"), ("te", "trailers")]));
    }

    #[test]
    fn an_upgrade_is_what_connection_asks_for() {
        let asks = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(upgrade(&asks), Some(HeaderValue::from_static("websocket")));
    }

    #[test]
    fn a_chain_of_proxies_is_continued_and_a_claimed_origin_replaced() {
        let mut from =
            headers(&[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "https"), ("host", "a")]);
        forwarded(&mut from, IpAddr::from([10, 0, 0, 2]), false, None);
        let expected = [
            ("x-forwarded-for", "10.0.0.1, 10.0.0.2"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "a"),
        ];
        assert_eq!(from, headers(&expected));
    }
}

//! Who may ask: keys, the host that a request is meant for, and where a form was sent from.

use crate::answer::Answer;
use crate::http::Call;
use assembly::Problem;

/// Who may ask.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// The key that requests must carry, if any.
    pub(crate) api_key: Option<String>,
    /// True if only this machine can reach the server.
    pub(crate) is_loopback: bool,
    /// Names under which the server may be asked, besides those of this machine.
    pub(crate) hosts: Vec<String>,
}

/// Equal, in a time that does not depend on where they differ.
fn same(a: &str, b: &str) -> bool {
    let differing = a
        .bytes()
        .zip(b.bytes())
        .fold(0u8, |differing, (a, b)| differing | (a ^ b));
    a.len() == b.len() && differing == 0
}

/// The host of a `Host` header, without its port.
fn host_name(header: &str) -> &str {
    if let Some(rest) = header.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    header.rsplit_once(':').map_or(header, |(host, _)| host)
}

impl Access {
    /// Refuses what may not be answered; health is always told.
    pub(crate) fn check(&self, call: &Call) -> Result<(), Answer> {
        self.check_host(call)?;
        self.check_origin(call)?;
        if matches!(call.path.as_str(), "/healthz" | "/readyz") {
            return Ok(());
        }
        self.check_key(call)
    }

    /// A page of somebody else's that points a name of its own at this machine is not answered.
    fn check_host(&self, call: &Call) -> Result<(), Answer> {
        if !self.is_loopback || self.api_key.is_some() {
            return Ok(());
        }
        let host = call.header("host").unwrap_or("");
        let name = host_name(host);
        let known =
            ["localhost", "127.0.0.1", "::1"].contains(&name) || self.hosts.iter().any(|host| host == name);
        if known {
            return Ok(());
        }
        let problem = Problem::new("Host", host, "localhost, or a name given with --host");
        Err(Answer::refused(
            421,
            "host",
            "This server is not that host",
            &problem,
        ))
    }

    /// A form of somebody else's page is not taken.
    fn check_origin(&self, call: &Call) -> Result<(), Answer> {
        if call.method == "GET" || call.method == "HEAD" {
            return Ok(());
        }
        let site = call.header("sec-fetch-site");
        let is_ours = site.is_none_or(|site| matches!(site, "same-origin" | "none"));
        let origin = call.header("origin").filter(|_| site.is_none());
        let host = call.header("host").unwrap_or("");
        let is_same = origin.is_none_or(|origin| origin.split("://").nth(1) == Some(host));
        if is_ours && is_same {
            return Ok(());
        }
        let got = origin.or(site).unwrap_or("another site");
        let problem = Problem::new(
            "Origin",
            got,
            "a request from a page of this server, or from no page",
        );
        Err(Answer::refused(
            403,
            "origin",
            "The request comes from another site",
            &problem,
        ))
    }

    fn check_key(&self, call: &Call) -> Result<(), Answer> {
        let Some(key) = &self.api_key else {
            return Ok(());
        };
        let bearer = call
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        let basic = call
            .header("authorization")
            .and_then(|value| value.strip_prefix("Basic "));
        let given = call.header("x-api-key").or(bearer);
        let password = basic
            .and_then(base64)
            .and_then(|pair| pair.split_once(':').map(|(_, key)| key.to_owned()));
        if given
            .or(password.as_deref())
            .is_some_and(|given| same(given, key))
        {
            return Ok(());
        }
        let got = if given.is_some() || basic.is_some() {
            "another key"
        } else {
            "no key"
        };
        let expected = "the key in X-Api-Key, as a bearer token, or as the password of a browser's dialogue";
        let problem = Problem::new("X-Api-Key", got, expected);
        let answer = Answer::refused(401, "key", "A key is needed", &problem);
        Err(answer.with(
            "www-authenticate",
            "Basic realm=\"Concierge: any name, the key as password\"",
        ))
    }
}

/// Base64 as browsers send it, if it is text.
fn base64(text: &str) -> Option<String> {
    let (mut bits, mut count, mut out) = (0u32, 0, Vec::new());
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hosts_and_base64() {
        assert!(same("abc", "abc") && !same("abc", "abd") && !same("abc", "ab") && !same("", "a"));
        assert_eq!(host_name("localhost:7800"), "localhost");
        assert_eq!(host_name("[::1]:7800"), "::1");
        assert_eq!(host_name("example.org"), "example.org");
        assert_eq!(base64("YW55OmtleQ==").as_deref(), Some("any:key"));
        assert_eq!(base64("%"), None);
    }
}

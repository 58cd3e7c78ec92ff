//! The page in a real browser, driven over WebDriver.

use crate::world::World;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A browser without a window.
struct Browser {
    driver: Child,
    base: String,
    session: String,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.call("DELETE", "", &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn installed(names: &[&str]) -> Option<String> {
    let paths = std::env::var_os("PATH")?;
    let all: Vec<_> = std::env::split_paths(&paths).collect();
    names
        .iter()
        .flat_map(|name| all.iter().map(move |dir| dir.join(name)))
        .find(|path| path.exists())
        .map(|path| path.display().to_string())
}

impl Browser {
    /// `None`, said aloud, if there is no browser on this machine.
    fn start(profile: &Path) -> Option<Browser> {
        let (Some(driver), Some(chromium)) = (
            installed(&["chromedriver"]),
            installed(&["chromium", "google-chrome"]),
        ) else {
            eprintln!(
                "*** SKIPPED: no chromium and chromedriver here, the page is not tested in a browser ***"
            );
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let driver = Command::new(driver)
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut browser = Browser {
            driver,
            base: format!("http://127.0.0.1:{port}"),
            session: String::new(),
        };
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1280,1500",
        ];
        let profile = format!("--user-data-dir={}", profile.display());
        let args: Vec<&str> = args.into_iter().chain([profile.as_str()]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"binary": chromium, "args": args}}}});
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match browser.request("POST", "/session", &wanted) {
                Ok(answer) => {
                    browser.session = format!("/session/{}", answer["sessionId"].as_str().unwrap());
                    return Some(browser);
                }
                Err(error) => assert!(Instant::now() < deadline, "the browser does not start: {error}"),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let agent =
            ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
        let url = format!("{}{path}", self.base);
        let answer = match method {
            "GET" => agent.get(&url).call(),
            "DELETE" => agent.delete(&url).call(),
            _ => agent
                .post(&url)
                .content_type("application/json")
                .send(body.to_string()),
        };
        let text = answer
            .map_err(|e| e.to_string())?
            .body_mut()
            .read_to_string()
            .map_err(|e| e.to_string())?;
        let told: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let value = told["value"].clone();
        if value.get("error").is_some() {
            Err(value.to_string())
        } else {
            Ok(value)
        }
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        self.request(method, &format!("{}{path}", self.session), body)
    }

    fn go(&self, url: &str) {
        self.call("POST", "/url", &json!({"url": url})).unwrap();
    }

    fn script(&self, script: &str) -> Value {
        self.call("POST", "/execute/sync", &json!({"script": script, "args": []}))
            .unwrap()
    }

    fn click(&self, selector: &str) {
        let found = self.call(
            "POST",
            "/element",
            &json!({"using": "css selector", "value": selector}),
        );
        let found = found.unwrap_or_else(|e| panic!("{selector}: {e}"));
        let id = found
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned();
        self.call("POST", &format!("/element/{id}/click"), &json!({}))
            .unwrap();
    }

    /// Clicks something that leads to another page, and waits for that page.
    fn follow(&self, selector: &str) {
        self.script("window.isOld = true");
        self.click(selector);
        let deadline = Instant::now() + Duration::from_secs(20);
        // While one page goes and the next comes there may be none to ask.
        let there =
            json!({"script": "return !window.isOld && document.readyState === 'complete'", "args": []});
        while self.call("POST", "/execute/sync", &there) != Ok(Value::Bool(true)) {
            assert!(Instant::now() < deadline, "{selector}: no other page came");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn slate(&self) -> Vec<String> {
        let ids =
            self.script("return [...document.querySelectorAll('#slate li')].map(li => li.dataset.item)");
        ids.as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_str().unwrap().to_owned())
            .collect()
    }

    fn picture(&self, name: &str) {
        if let Some(folder) = std::env::var_os("CONCIERGE_PICTURES") {
            let picture = self.call("GET", "/screenshot", &Value::Null).unwrap();
            std::fs::write(
                Path::new(&folder).join(format!("{name}.png.base64")),
                picture.as_str().unwrap(),
            )
            .unwrap();
        }
    }
}

#[test]
fn someone_invented_clicks_and_sees_the_list_change() {
    let profile = tempfile::TempDir::new().unwrap();
    let Some(browser) = Browser::start(profile.path()) else {
        return;
    };
    let world = World::trained();
    let base = format!("http://{}", world.address);
    browser.go(&base);
    assert_eq!(browser.slate().len(), 10);
    assert!(
        browser
            .script("return document.querySelector('h1').innerText")
            .as_str()
            .unwrap()
            .contains("anyone")
    );
    browser.picture("nobody");
    // Someone who was never seen before.
    browser.script("document.querySelector('#user').value = 'invented \"<one>'");
    browser.follow("button.main");
    let before = browser.slate();
    assert_eq!(before.len(), 10);
    let reasons = browser.script("return document.querySelectorAll('#slate .why').length");
    assert!(reasons.as_u64().unwrap() >= 10, "every item has a reason");
    let sources = browser.script("return document.querySelectorAll('#slate .chip.source').length");
    assert!(
        sources.as_u64().unwrap() >= 10,
        "every item says where it came from"
    );
    let liked = before[0].clone();
    browser.follow(&format!("button[data-act=like][data-item='{liked}']"));
    let after = browser.slate();
    assert!(!after.contains(&liked));
    assert_ne!(before, after);
    let page = browser.script("return document.body.innerText");
    let page = page.as_str().unwrap();
    assert!(
        page.contains("invented \"<one>")
            && page.contains("just now")
            && page.contains(&format!("like: The {liked}"))
    );
    assert!(page.contains(&format!("Because of The {liked}")), "{page}");
    assert!(
        browser
            .script("return document.querySelectorAll('#slate .chip.fresh').length")
            .as_u64()
            .unwrap()
            >= 1
    );
    let stored = world.get("/v1/users/invented%20%22%3Cone%3E").json();
    assert_eq!(stored["recent"][0]["item_id"], liked.as_str());
    browser.picture("someone");
    // Something is found and clicked too.
    browser.script("document.querySelector('input[name=q]').value = 'item-003'");
    browser.follow("#find button[type=submit]");
    assert_eq!(browser.slate().len(), 10);
    let found = browser.script("return document.querySelectorAll('#found li').length");
    assert!(found.as_u64().unwrap() >= 5);
    browser.follow("#found button[data-act=click]");
    // Waits for the page that follows.
    assert_eq!(browser.slate().len(), 10);
    assert_eq!(
        world.get("/v1/users/invented%20%22%3Cone%3E").json()["recent"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    // The browser of the API.
    browser.go(&format!("{base}/docs"));
    browser.script("document.querySelectorAll('details').forEach(d => d.open = true)");
    assert!(
        browser
            .script("return document.querySelectorAll('details.op').length")
            .as_u64()
            .unwrap()
            >= 20
    );
    assert!(
        browser
            .script("return document.body.innerText")
            .as_str()
            .unwrap()
            .contains("curl -s -X POST")
    );
    browser.picture("docs");
    // Nothing that the browser had to block.
    let styled = browser.script("return getComputedStyle(document.querySelector('.bar')).display");
    assert_eq!(styled, "flex");
}

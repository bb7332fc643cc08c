//! Chromium without a window, driven over its DevTools protocol: real clicks and keys, and what the page then says.
//!
//! Waiting is for what the page shows, never for a time; every wait ends in a failure that shows the page.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(30);

/// A browser with one page; dropping it ends it.
pub struct Page {
    child: Child,
    _profile: TempDir,
    socket: WebSocketStream<TcpStream>,
    session: Option<String>,
    last: u64,
    /// Exceptions of the script, and what its policy forbade.
    faults: Vec<String>,
}

impl Page {
    /// An empty one, so wide and high.
    pub async fn open(width: u32, height: u32) -> Self {
        Self::with(&[], width, height).await
    }

    /// The same, for addresses whose certificates nobody has signed.
    pub async fn open_trusting_anybody(width: u32, height: u32) -> Self {
        Self::with(&["--ignore-certificate-errors"], width, height).await
    }

    async fn with(more: &[&str], width: u32, height: u32) -> Self {
        let profile = TempDir::new().unwrap();
        let mut child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"])
            .args(more)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("chromium");
        let address = devtools(child.stderr.take().unwrap()).await;
        let host = address.strip_prefix("ws://").unwrap().split('/').next().unwrap().to_owned();
        let stream = TcpStream::connect(host).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(address, stream).await.unwrap();
        let mut page = Self { child, _profile: profile, socket, session: None, last: 0, faults: Vec::new() };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = page.call("Target.attachToTarget", attach).await;
        page.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Performance"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        page.resize(width, height).await;
        page
    }

    /// Another size of the window.
    pub async fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Goes there, and waits for the page's own end of loading.
    pub async fn go(&mut self, address: &str) {
        self.call("Page.navigate", json!({ "url": address })).await;
        self.until(&format!("document.readyState === 'complete' && location.href.startsWith('{address}')")).await;
    }

    /// What this expression is worth, in the page.
    pub async fn ask(&mut self, expression: &str) -> Value {
        let question = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", question).await;
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until this expression is true.
    pub async fn until(&mut self, expression: &str) {
        let end = tokio::time::Instant::now() + PATIENCE;
        // A page that is left takes its promises along: each asks for a while and is asked again.
        let watch = format!(
            "new Promise((done) => {{ const end = Date.now() + 1000; const look = () => {{ let is = false; try {{ is = !!({expression}); }} catch {{}} \
             if (is || Date.now() > end) done(is); else setTimeout(look, 10); }}; look(); }})"
        );
        loop {
            let question = json!({ "expression": watch, "awaitPromise": true, "returnByValue": true });
            if self.call("Runtime.evaluate", question).await["result"]["value"] == true {
                return;
            }
            if tokio::time::Instant::now() > end {
                let text = self.ask("document.body.innerText").await;
                panic!("never: {expression}\nthe page says:\n{}", text.as_str().unwrap_or_default());
            }
        }
    }

    /// Clicks on what this expression finds, with the mouse.
    pub async fn click(&mut self, element: &str) {
        self.until(&format!("{element} && {element}.getClientRects().length")).await;
        let place = self
            .ask(&format!(
                "(() => {{ const one = {element}; one.scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
                 const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
            ))
            .await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "buttons": 1, "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Types these keys: a character each, or `Enter`, `Escape`, `Tab` alone.
    pub async fn keys(&mut self, keys: &str) {
        let named = match keys {
            "Enter" => Some((13, "\r")),
            "Escape" => Some((27, "")),
            "Tab" => Some((9, "")),
            _ => None,
        };
        let strokes: Vec<(String, u32, String)> = match named {
            Some((code, text)) => vec![(keys.to_owned(), code, text.to_owned())],
            None => keys.chars().map(|c| (c.to_string(), 0, c.to_string())).collect(),
        };
        for (key, code, text) in strokes {
            let kind = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
            let down = json!({ "type": kind, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": code });
            self.call("Input.dispatchKeyEvent", down).await;
            let up = json!({ "type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code });
            self.call("Input.dispatchKeyEvent", up).await;
        }
    }

    /// One of the browser's own measurements: `ScriptDuration`, in seconds.
    pub async fn measured(&mut self, name: &str) -> f64 {
        let all = self.call("Performance.getMetrics", json!({})).await;
        let one = all["metrics"].as_array().into_iter().flatten().find(|one| one["name"] == name);
        one.and_then(|one| one["value"].as_f64()).unwrap()
    }

    /// What went wrong in the page so far.
    pub async fn faults(&mut self) -> Vec<String> {
        self.ask("0").await; // all that was said before it is here then
        self.faults.clone()
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::text(command.to_string())).await.unwrap();
        timeout(PATIENCE, self.answer(method)).await.unwrap_or_else(|_| panic!("chromium: no answer to {method}"))
    }

    async fn answer(&mut self, method: &str) -> Value {
        loop {
            let message = self.socket.next().await.expect("chromium has ended").unwrap();
            let Ok(text) = message.to_text() else { continue };
            let mut said: Value = serde_json::from_str(text).unwrap_or_default();
            if said["id"] == self.last {
                assert!(said.get("error").is_none(), "{method}: {said}");
                return said["result"].take();
            }
            let entry = &said["params"]["entry"];
            let forbidden = said["method"] == "Log.entryAdded" && entry["source"] == "security";
            if forbidden || said["method"] == "Runtime.exceptionThrown" {
                self.faults.push(said["params"].to_string());
            }
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where it listens, as it says on stderr; what else it says there is read and dropped, so that it never waits.
async fn devtools(stderr: impl std::io::Read + Send + 'static) -> String {
    let (tell, told) = tokio::sync::oneshot::channel();
    let (tell, seen) = (Mutex::new(Some(tell)), Arc::new(Mutex::new(String::new())));
    let all = Arc::clone(&seen);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("DevTools listening on ")
                && let Some(tell) = tell.lock().unwrap().take()
            {
                let _ = tell.send(address.to_owned());
            }
            let mut all = all.lock().unwrap();
            if all.len() < 10_000 {
                all.push_str(&line);
                all.push('\n');
            }
        }
    });
    match timeout(PATIENCE, told).await {
        Ok(Ok(address)) => address,
        _ => panic!("chromium did not start:\n{}", seen.lock().unwrap()),
    }
}

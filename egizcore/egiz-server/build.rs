//! Makes sure that EgizVision's folder is there to be embedded: where it was not built, a page says how to.

use std::path::Path;

const PAGE: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>OpenEgiz</title>\n\
    <h1>OpenEgiz is running</h1>\n<p>The web client was not built into this program. Run <code>cargo xtask build</code> \
    and start it again.</p>\n<p><a href=\"/api/docs/\">The API</a> · <a href=\"/health\">Health</a></p>\n</html>\n";

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../egizvision/dist");
    let page = folder.join("index.html");
    if !page.exists() {
        std::fs::create_dir_all(&folder).expect("egizvision/dist can be created");
        std::fs::write(&page, PAGE).expect("egizvision/dist can be written");
    }
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-changed=build.rs");
}

import { defineConfig } from "vite";

const platform = "http://127.0.0.1:8080";

export default defineConfig({
  build: { target: "es2022", sourcemap: false, modulePreload: { polyfill: false } },
  worker: { format: "es" },
  server: { proxy: { "/api": { target: platform, ws: true }, "/health": platform } },
});

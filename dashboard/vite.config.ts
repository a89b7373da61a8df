import { defineConfig } from "vite";

// The page is served under any prefix, so that every address in it is relative.
export default defineConfig({
  base: "./",
  build: { outDir: "dist", assetsDir: "assets", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: { proxy: { "/api": "http://127.0.0.1:8080" } },
});

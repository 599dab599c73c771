"use strict";
// Swagger UI has a dark theme, but does not choose it by itself.
const dark = matchMedia("(prefers-color-scheme: dark)");
const setTheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", setTheme);
setTheme();
// The URL of this script includes the path prefix of a proxy or namespace, so the URL of the OpenAPI
// document is resolved against it.
window.SwaggerUIBundle({
  url: new URL("../../openapi.json", document.currentScript.src).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  showExtensions: true,
  presets: [window.SwaggerUIBundle.presets.apis],
});

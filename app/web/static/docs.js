"use strict";
// A path prefix, of a proxy or of a namespace, is part of this script's own address.
window.SwaggerUIBundle({
  url: new URL("../../openapi.json", document.currentScript.src).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  showExtensions: true,
  presets: [window.SwaggerUIBundle.presets.apis],
});

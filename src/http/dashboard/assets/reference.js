// Shows the OpenAPI document by Swagger UI, in the reader's light or dark.
"use strict";

const holder = document.getElementById("reference");
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
follow();
dark.addEventListener("change", follow);

SwaggerUIBundle({
  url: holder.dataset.document,
  domNode: holder,
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  // The default asks another host whether the document is valid.
  validatorUrl: null,
});

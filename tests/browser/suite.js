// The whole suite, in order: the journey makes what the other pages show.

import "./journey.js";
import "./pages.js";
import "./playground.js";
import "./api.js";
import "./without_scripts.js";
import "./key.js";

"use strict"

/**
 * Loads ajv and its companions when they are first asked for. This file is CommonJS: only `require` loads a package late and
 * without a promise, in Node and in a bundle.
 */
exports.loadAjv = () => require("ajv")
exports.loadFormats = () => require("ajv-formats")
exports.loadTraverse = () => require("json-schema-traverse")

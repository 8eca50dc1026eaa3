"use strict"

/**
 * ajv and its companions, each loaded when it is first asked for. This file is CommonJS because `require` is the one way to load
 * a package late and without a promise that Node and bundlers understand.
 */
exports.loadAjv = () => require("ajv")
exports.loadFormats = () => require("ajv-formats")
exports.loadTraverse = () => require("json-schema-traverse")

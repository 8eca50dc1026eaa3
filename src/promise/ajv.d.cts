import type * as Ajv from "ajv"
import type * as AjvFormats from "ajv-formats"
import type traverse from "json-schema-traverse"

export declare const loadAjv: () => { readonly Ajv: typeof Ajv.Ajv }
export declare const loadFormats: () => typeof AjvFormats
export declare const loadTraverse: () => typeof traverse

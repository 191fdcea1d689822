/** The version of this package, for status, descriptions and `--version`. package.json says the same; a test checks it. */
export const VERSION = '0.1.0'

/** The colours of a terminal; none where NO_COLOR or a pipe says so. The only importer of the package for them. */
export { default as colours } from 'picocolors'

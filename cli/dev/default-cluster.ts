/** Of a cluster that nobody gave a name. */
export const DEFAULT_CLUSTER = 'dev'

/** The wall clock, injected: only for what people read and for the expiry of join tokens. */
export type Clock = () => Date

/** Which path a configuration may ask for; path.ts answers. By itself, so that who only asks loads none. */
export const WANTED_PATHS = ['auto', 'fast', 'portable'] as const
export type WantedPath = (typeof WANTED_PATHS)[number]

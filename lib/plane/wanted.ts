/** Which plane a configuration may ask for; choose.ts answers. By itself, so that who only asks loads no plane. */
export const WANTED_PLANES = ['auto', 'portable', 'uring'] as const
export type WantedPlane = (typeof WANTED_PLANES)[number]

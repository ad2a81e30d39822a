/** Has `kernel`, `busybox` and `lib/modules/VERSION`. */
export const GUEST_FOLDER: string;

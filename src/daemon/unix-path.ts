// Abstract names of Unix sockets (unix(7)).

/** sockaddr_un.sun_path: Node pads a shorter abstract name to this in some versions and not in others. */
const NAME_BYTES = 108;

/** As Node's net takes it. */
export function abstractPath(name: string): string {
  return `\0${name}`.padEnd(NAME_BYTES, '\0');
}

// A listening socket whose connections are not read from until somebody takes them.

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { KernelError } from '../../errors.ts';
import type { SocketAddress } from '../../mode/userspace/proxy-header.ts';
import { familyOf } from '../../model/ip.ts';
import { duplicateDescriptor } from './node-sockets.ts';

/** Connections that wait to be accepted; the kernel stops at net.core.somaxconn. */
const BACKLOG = 4096;

export interface TcpListenerOptions {
  /** A socket that listens there already. */
  readonly fd?: number | undefined;
  onConnection(socket: Socket): void;
  /** The system refused to accept a connection. */
  onError(error: NodeJS.ErrnoException): void;
}

export class TcpListener {
  readonly #server: Server;
  readonly address: SocketAddress;

  private constructor(server: Server, address: SocketAddress) {
    this.#server = server;
    this.address = address;
  }

  /** Port 0 lets the kernel choose. Settles when it listens, or with what the system says instead. */
  static open(
    address: SocketAddress,
    { onConnection, onError, fd }: TcpListenerOptions,
  ): Promise<TcpListener | KernelError> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    return new Promise((resolve) => {
      server.once('error', (error) => resolve(listenError(address, error)));
      server.listen(
        {
          ...(fd === undefined
            ? { host: address.ip, port: address.port, ipv6Only: familyOf(address.ip) === 6 }
            : { fd }),
          backlog: BACKLOG,
          exclusive: true,
        },
        () => {
          server.removeAllListeners('error').on('error', onError).on('connection', onConnection);
          const { port } = server.address() as AddressInfo;
          resolve(new TcpListener(server, { ip: address.ip, port }));
        },
      );
      // The daemon's life does not hang on its clients.
      server.unref();
    });
  }

  /** Another descriptor of the socket, which goes on listening when this is closed. Throws KernelError. */
  duplicate(): number {
    return duplicateDescriptor(this.#server);
  }

  /** At once; connections that it accepted go on. */
  close(): void {
    this.#server.close();
  }
}

/** What `bind` or `listen` said. */
export function listenError({ ip, port }: SocketAddress, error: NodeJS.ErrnoException): KernelError {
  const at = ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
  return new KernelError(error.code ?? 'UNKNOWN', -(error.errno ?? 0), `listen on ${at}`, undefined, {
    cause: error,
  });
}

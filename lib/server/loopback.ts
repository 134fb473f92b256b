/** Which addresses, and names of them, only this machine itself can reach. */

/** @param host an address or a name, as in a URL or not, without a port */
export function isLoopback(host: string): boolean {
  return /^(localhost|(::ffff:)?127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host);
}

/** The name in a header `Host`: without the port. */
export function hostName(header: string): string {
  return header.replace(/:\d+$/, '').toLowerCase();
}

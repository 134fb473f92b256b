/**
 * The data of server-sent events, from bytes cut anywhere, by the rules of the HTML standard: lines
 * end with LF, CR or CRLF; an event ends with an empty line, and one the stream breaks off is none.
 */
export class EventStream {
  private readonly decoder = new TextDecoder();
  /** The start of a line whose end has not come. */
  private rest = '';
  private data: string[] = [];
  private afterCarriageReturn = false;

  /** The data of the events these bytes complete. */
  push(bytes: Uint8Array): string[] {
    let text = this.decoder.decode(bytes, { stream: true });
    if (text === '') return [];
    if (this.afterCarriageReturn && text.startsWith('\n')) text = text.slice(1);
    this.afterCarriageReturn = text === '' ? false : text.endsWith('\r');
    const lines = (this.rest + text).split(/\r\n|\r|\n/);
    this.rest = lines.pop()!;
    const events: string[] = [];
    for (const line of lines) {
      if (line !== '') this.read(line);
      else if (this.data.length > 0) {
        events.push(this.data.join('\n'));
        this.data = [];
      }
    }
    return events;
  }

  private read(line: string): void {
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    if (field === 'data') this.data.push(colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, ''));
  }
}

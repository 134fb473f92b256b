import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Model } from '../../lib';
import { createServer } from '../../lib/server';

test('a connection that has had no request does not hold up the end', async () => {
  const model = await Model.load(join(__dirname, '../../models/breeze-Q4_0.gguf'));
  try {
    const server = createServer(model);
    await server.listen({ port: 0 });
    const { port } = server.server.address() as AddressInfo;
    const accepted = once(server.server, 'connection');
    const socket = connect(port, '127.0.0.1');
    socket.resume();
    const closed = once(socket, 'close');
    await accepted;
    await server.drain(60);
    await closed;
  } finally {
    await model.dispose();
  }
}, 30_000);

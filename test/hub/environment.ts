/** A hub and a cache of a test's own, with the variables that lead there. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HubServer, type ServedRepository } from './hub-server';

export interface HubEnvironment {
  readonly hub: HubServer;
  /** HF_HOME. */
  readonly home: string;
  /** HF_HUB_CACHE is not set: it is `hub` in it. */
  readonly cache: string;
  close(): Promise<void>;
}

export async function hubEnvironment(
  repositories: Record<string, ServedRepository>,
): Promise<HubEnvironment> {
  const outer = { ...process.env };
  for (const name of Object.keys(process.env)) {
    if (/^(HF_|HUGGING)/.test(name)) Reflect.deleteProperty(process.env, name);
  }
  const hub = await HubServer.start(repositories);
  const home = mkdtempSync(join(tmpdir(), 'tramontane-hub-'));
  Object.assign(process.env, {
    HF_ENDPOINT: hub.endpoint,
    HF_HOME: home,
    XDG_CACHE_HOME: join(home, 'other'),
  });
  return {
    hub,
    home,
    cache: join(home, 'hub'),
    async close() {
      await hub.close();
      rmSync(home, { recursive: true, force: true });
      process.env = outer;
    },
  };
}

/**
 * Three replicas of `tramontane serve` with the embedded model, behind HAProxy and then nginx with
 * the configurations of deploy/: a session stays at its replica; one replica is killed in the middle
 * of its work and comes back; all are stopped and started, one after the other. Clients that try
 * again see no failure, and every text is what one replica alone writes.
 *   npm run script scripts/test-load-balancer.ts -- [haproxy | nginx] [SESSIONS]
 * Needs haproxy, nginx and openssl (Debian: haproxy nginx-light openssl).
 */
import './help';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, type Question } from './load-balancer/client';
import { Front, freePorts, Replica, until, type Served } from './load-balancer/processes';
import { balancers, type Balancer } from '../test/deploy/balancers';

const key = 'a-key-of-the-load-balancer-test';

function expect(met: boolean, what: string): void {
  if (!met) throw new Error(`not so: ${what}`);
}

/** Which replicas served each session. */
function places(served: readonly Served[]): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>();
  for (const { session, replica } of served) {
    if (!found.has(session)) found.set(session, new Set());
    found.get(session)!.add(replica);
  }
  return found;
}

/** Sessions that ask one question after the other, all at the same time, until stopped. */
class Load {
  answers = 0;
  readonly failures: string[] = [];
  private readonly stopping = new AbortController();
  private readonly done: Promise<unknown>;

  constructor(client: Client, questions: readonly Question[], texts: ReadonlyMap<string, string>) {
    const { signal } = this.stopping;
    this.done = Promise.all(
      questions.map(async (question, index) => {
        for (let turn = index; !signal.aborted; turn++) {
          try {
            const text = await client.complete({ ...question, stream: turn % 2 === 0 });
            if (text !== texts.get(question.session)) {
              this.failures.push(`${question.session} got another text`);
            }
          } catch (error) {
            this.failures.push((error as Error).message);
          }
          this.answers++;
        }
      }),
    );
  }

  /** Waits for so many more answers. */
  async more(count: number): Promise<void> {
    const target = this.answers + count;
    await until(`${count} answers`, () => this.answers >= target);
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.done;
  }
}

async function prove(balancer: Balancer, sessions: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tramontane-balancer-'));
  const [first, second, third, tls, plain] =
    await freePorts<readonly [number, number, number, number, number]>(5);
  const keys = join(folder, 'keys');
  writeFileSync(keys, `${key}\n`, { mode: 0o600 });
  const replicas = [first, second, third].map(
    (port, index) => new Replica(`replica-${index + 1}`, port, folder, keys),
  );
  const front = new Front(balancer, folder, replicas, tls, plain);
  const say = (text: string): void => {
    console.log(`${balancer}: ${text}`);
  };
  let client: Client | undefined;
  let passed = false;
  try {
    await Promise.all(replicas.map((replica) => replica.start()));
    await front.start();
    const certificate = readFileSync(join(folder, 'tramontane.crt'), 'utf8');
    client = new Client({ port: tls, certificate, key });
    const questions = Array.from({ length: sessions }, (_, index) => ({
      session: `session-${index}`,
      prompt: `Once upon a time, in the town number ${index},`,
      seed: index,
      stream: false,
    }));

    // One after the other, nothing else going on: what each text must be from now on.
    const texts = new Map<string, string>();
    for (const question of questions) {
      texts.set(question.session, await client.complete(question));
    }
    // Twice in a row each: taking turns, however many replicas there are, would not look like this.
    for (const question of questions) {
      for (const stream of [true, false]) await client.complete({ ...question, stream });
    }
    await until('the log', () => front.served().length >= 3 * sessions);
    const home = places(front.served());
    expect(
      [...home.values()].every(({ size }) => size === 1),
      'each session stays at one replica',
    );
    const used = new Map(replicas.map(({ name }) => [name, 0]));
    for (const [name] of [...home.values()].map((names) => [...names])) {
      used.set(name!, used.get(name!)! + 1);
    }
    expect(
      [...used.values()].every((count) => count > 0),
      'every replica has sessions',
    );
    say(`${sessions} sessions stay where they are: ${[...used.values()].join(', ')} a replica`);

    const load = new Load(client, questions, texts);
    await load.more(2 * sessions);
    const quiet = client.retries.size;
    const victim = replicas[1]!;
    const ending = await victim.end('SIGKILL');
    expect(ending === 'SIGKILL', 'the replica is killed');
    const atKill = front.served().length;
    await load.more(4 * sessions);
    expect(
      front
        .served()
        .slice(atKill + sessions)
        .every(({ replica }) => replica !== victim.name),
      'the dead replica gets nothing',
    );
    await victim.start();
    const atReturn = front.served().length;
    await until(`${victim.name} to be used again`, () =>
      front
        .served()
        .slice(atReturn)
        .some(({ replica }) => replica === victim.name),
    );
    await load.more(4 * sessions);
    const tried = [...client.retries].map(([reason, count]) => `${count} ${reason}`).join(', ');
    say(`${load.answers} answers, one replica killed and back; tries anew: ${tried || 'none'}`);
    expect(quiet === 0, 'nothing is tried anew before the kill');

    client.retries.clear();
    const before = load.answers;
    for (const replica of replicas) {
      const code = await replica.end('SIGTERM');
      expect(code === 0, `${replica.name} ends with 0, not ${String(code)}`);
      await load.more(sessions);
      await replica.start();
      const since = front.served().length;
      await until(`${replica.name} to be used again`, () =>
        front
          .served()
          .slice(since)
          .some(({ replica: name }) => name === replica.name),
      );
    }
    await load.stop();
    const anew = [...client.retries].map(([reason, count]) => `${count} ${reason}`).join(', ');
    say(`${load.answers - before} answers over three restarts; tries anew: ${anew || 'none'}`);
    expect(load.failures.length === 0, `no client sees a failure: ${load.failures.join('; ')}`);
    expect(client.retries.size === 0, 'a restart costs no client a second try');

    await settle(client, questions, front, home);
    say('every session is back where it was');
    passed = true;
  } finally {
    client?.close();
    await front.stop();
    await Promise.all(replicas.map((replica) => replica.end('SIGKILL')));
    if (passed) rmSync(folder, { recursive: true });
    else say(`logs are in ${folder}`);
  }
}

/** Asks for each session until all are where they were at first. */
async function settle(
  client: Client,
  questions: readonly Question[],
  front: Front,
  home: ReadonlyMap<string, ReadonlySet<string>>,
): Promise<void> {
  await until('the sessions to be back', async () => {
    const since = front.served().length;
    for (const question of questions) await client.complete(question);
    await until('the log', () => front.served().length >= since + questions.length);
    return [...places(front.served().slice(since))].every(
      ([session, names]) => names.size === 1 && home.get(session)!.has([...names][0]!),
    );
  });
}

async function main(): Promise<void> {
  const [named, count = '30'] = process.argv.slice(2);
  const chosen = balancers.filter((name) => named === undefined || name === named);
  if (chosen.length === 0) throw new Error(`${named!}: haproxy or nginx`);
  for (const balancer of chosen) await prove(balancer, Number(count));
}

main().catch((error: unknown) => {
  process.exitCode = 1;
  console.error((error as Error).message);
});

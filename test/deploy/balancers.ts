/** deploy's configurations of HAProxy and nginx, as they are but for addresses and files. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const balancers = ['haproxy', 'nginx'] as const;
export type Balancer = (typeof balancers)[number];

export interface Place {
  /** A folder for configuration, certificate and what the balancer writes. */
  readonly folder: string;
  /** Ports on loopback. */
  readonly replicas: readonly [number, number, number];
  readonly tls: number;
  readonly plain: number;
}

/** Writes configuration and certificate; returns how to check and how to run them. */
export function setUp(balancer: Balancer, place: Place): { check: string[]; run: string[] } {
  const { folder } = place;
  const certificate = join(folder, 'tramontane.crt');
  const key = join(folder, 'tramontane.key');
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'],
      ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
      ...['-keyout', key, '-out', certificate],
    ],
    { stdio: 'ignore' },
  );
  const pair = join(folder, 'tramontane.pem');
  writeFileSync(pair, readFileSync(certificate, 'utf8') + readFileSync(key, 'utf8'));
  const path = join(folder, balancer);
  let text = readFileSync(join(__dirname, '../../deploy', balancer, files[balancer]), 'utf8');
  const replace = (from: string, to: string): void => {
    if (!text.includes(from)) throw new Error(`${files[balancer]} has no ${from}`);
    text = text.replaceAll(from, to);
  };
  place.replicas.forEach((port, index) => {
    replace(`replica-${index + 1}:8000`, `127.0.0.1:${port}`);
  });
  if (balancer === 'haproxy') {
    replace('/etc/haproxy/certs/tramontane.pem', pair);
    replace('bind :443', `bind 127.0.0.1:${place.tls}`);
    replace('bind :80', `bind 127.0.0.1:${place.plain}`);
    writeFileSync(path, text);
    return { check: ['haproxy', '-c', '-f', path], run: ['haproxy', '-db', '-f', path] };
  }
  replace('/etc/nginx/certs/tramontane.crt', certificate);
  replace('/etc/nginx/certs/tramontane.key', key);
  replace('listen 443 ', `listen 127.0.0.1:${place.tls} `);
  replace('listen 80;', `listen 127.0.0.1:${place.plain};`);
  replace('/var/log/nginx/access.log', join(folder, 'access.log'));
  replace('/run/nginx.pid', join(folder, 'nginx.pid'));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => {
    mkdirSync(join(folder, name), { recursive: true });
    return `${name}_temp_path ${join(folder, name)};`;
  });
  replace('http {', `http { ${temporary.join(' ')}`);
  writeFileSync(path, text);
  const options = ['-c', path, '-e', 'stderr'];
  return {
    check: ['nginx', '-t', ...options],
    run: ['nginx', ...options, '-g', 'daemon off;'],
  };
}

const files: Readonly<Record<Balancer, string>> = { haproxy: 'haproxy.cfg', nginx: 'nginx.conf' };

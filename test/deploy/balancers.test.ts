/** HAProxy and nginx take the configurations, without a warning. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setUp, type Balancer } from './balancers';
import { describeWith, run } from './tools';

function check(balancer: Balancer): string {
  const folder = mkdtempSync(join(tmpdir(), 'tramontane-'));
  try {
    const place = { folder, replicas: [8001, 8002, 8003], tls: 8443, plain: 8080 } as const;
    const [program, ...args] = setUp(balancer, place).check;
    return run(program!, args);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describeWith('haproxy', 'haproxy', () => {
  test('the configuration is valid', () => {
    expect(check('haproxy')).toMatch(/^Configuration file is valid\s*$/);
  });
});

describeWith('nginx', 'nginx-light', () => {
  test('the configuration is valid', () => {
    const output = check('nginx');
    expect(output).toContain('test is successful');
    expect(output).not.toContain('[warn]');
  });
});

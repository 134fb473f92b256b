/** Other programs find in the cache what was pulled: the hub's packages for JavaScript and Python. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { scanCacheDir } from '@huggingface/hub';
import { pull } from '../../lib';
import { hubEnvironment, type HubEnvironment } from './environment';
import { lfs, small } from './hub-server';

const commit = 'ef'.repeat(20);
const model = randomBytes(300_000);
let place: HubEnvironment;

beforeAll(async () => {
  place = await hubEnvironment({
    'Own/Model-GGUF': {
      commit,
      branches: ['main', 'refs/pr/1'],
      files: { 'sub/m.Q4_K_M.gguf': lfs(model), 'config.json': small('{}') },
    },
  });
  await pull('hf:Own/Model-GGUF:Q4_K_M');
  await pull('hf:Own/Model-GGUF/config.json');
});

afterAll(() => place.close());

test('scanCacheDir() of @huggingface/hub', async () => {
  const { repos, warnings, size } = await scanCacheDir(place.cache);
  expect(warnings).toEqual([]);
  expect(repos).toMatchObject([
    {
      id: { name: 'Own/Model-GGUF', type: 'model' },
      revisions: [{ commitOid: commit, refs: ['main'] }],
    },
  ]);
  // It does not look into folders of a snapshot.
  expect(size).toBe(2);
});

const python = process.env['TRAMONTANE_PYTHON'] ?? 'python3';
const found = spawnSync(python, ['-c', 'import huggingface_hub']).status === 0;
const withPython = found ? describe : describe.skip;
if (!found) {
  process.stderr.write(
    'skipped: the cache as Python sees it; pip install huggingface_hub, and TRAMONTANE_PYTHON names its python\n',
  );
}

withPython('huggingface_hub of Python', () => {
  const run = (program: string): unknown =>
    JSON.parse(
      execFileSync(python, ['-c', program], {
        env: { ...process.env, HF_HUB_DISABLE_XET: '1', HF_HUB_OFFLINE: '1' },
        encoding: 'utf8',
      }),
    );

  test('finds the file without a network', () => {
    const path = run(`
import json
from huggingface_hub import hf_hub_download
print(json.dumps(hf_hub_download('Own/Model-GGUF', 'sub/m.Q4_K_M.gguf')))`);
    expect(readFileSync(path as string).equals(model)).toBe(true);
  });

  test('scans it without a warning', () => {
    const scan = run(`
import json
from huggingface_hub import scan_cache_dir
found = scan_cache_dir()
print(json.dumps({
  'warnings': [str(warning) for warning in found.warnings],
  'size': found.size_on_disk,
  'repos': [[repo.repo_id, repo.nb_files, [[r.commit_hash, sorted(r.refs)] for r in repo.revisions]]
            for repo in found.repos]}))`);
    expect(scan).toEqual({
      warnings: [],
      size: model.length + 2,
      repos: [['Own/Model-GGUF', 2, [[commit, ['main']]]]],
    });
  });
});

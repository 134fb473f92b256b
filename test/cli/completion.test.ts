/** Completion, by the shells themselves: what they offer for a line that ends somewhere. */
import { spawnSync } from 'node:child_process';
import { run } from './command';

function has(shell: string): boolean {
  return spawnSync(shell, ['-c', 'exit']).status === 0;
}

/** What a script prints; what it says of errors is part of it. */
function output(shell: string, script: string): string[] {
  const { stdout, stderr } = spawnSync(shell, ['-c', script], { encoding: 'utf8' });
  return (stdout + stderr).split('\n').filter((line) => line !== '');
}

const scripts: Record<string, string> = {};
beforeAll(async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    scripts[shell] = (await run('completion', shell)).stdout;
  }
});

describe('bash', () => {
  function offered(...words: readonly string[]): string[] {
    const line = words.map((word) => `'${word}'`).join(' ');
    return output(
      'bash',
      `${scripts['bash']!}
      COMP_WORDS=(tramontane ${line}); COMP_CWORD=${words.length}
      _tramontane; printf '%s\\n' "\${COMPREPLY[@]}"`,
    );
  }

  test('commands, by their beginning', () => {
    expect(offered('b').sort()).toEqual(['bench', 'bench-serve', 'build']);
    expect(offered('')).toEqual(expect.arrayContaining(['generate', 'completion', 'help']));
    expect(offered('--v')).toEqual(['--version']);
  });

  test('options of the command, and no other’s', () => {
    expect(offered('generate', '--top')).toEqual(['--top-k', '--top-p']);
    expect(offered('inspect', 'model.gguf', '--m')).toEqual(['--memory', '--mapping']);
    expect(offered('inspect', '--top')).toEqual([]);
  });

  test('choices of an option, and of an argument', () => {
    expect(offered('generate', '--backend', '')).toEqual(['auto', 'cpu', 'cuda']);
    expect(offered('generate', '--backend', 'cu')).toEqual(['cuda']);
    expect(offered('completion', '')).toEqual(['bash', 'zsh', 'fish']);
    expect(offered('help', 'ins')).toEqual(['inspect']);
  });

  test('else nothing, which bash makes files of', () => {
    expect(offered('generate', '')).toEqual([]);
    expect(scripts['bash']).toMatch(/^complete -o default /m);
  });
});

(has('fish') ? test : test.skip)('fish', () => {
  const offered = (line: string): string[] =>
    output('fish', `${scripts['fish']!}\ncomplete -C '${line}'`);
  expect(offered('tramontane ins')).toEqual([expect.stringMatching(/^inspect\t/)]);
  expect(offered('tramontane generate --top-')).toEqual([
    expect.stringMatching(/^--top-k\t/),
    expect.stringMatching(/^--top-p\t/),
  ]);
  expect(offered('tramontane generate --backend cu')).toEqual([expect.stringMatching(/^cuda\b/)]);
});

// Its completions need a terminal: here it reads the script, quotes and all.
(has('zsh') ? test : test.skip)('zsh reads it', () => {
  const script = `autoload -U compinit && compinit -u -D
    ${scripts['zsh']!}
    print $_comps[tramontane]
    _describe() { print $@ }; _arguments() { print -rl -- $@ }
    words=(tramontane generate ''); CURRENT=3; _tramontane`;
  const lines = output('zsh', script);
  expect(lines[0]).toBe('_tramontane');
  expect(lines).toContain(
    '*--backend[what computes; auto\\: a GPU if there is one]: :(auto cpu cuda)',
  );
});

test('another shell is wrong usage', async () => {
  const { status, stderr } = await run('completion', 'cmd');
  expect(status).toBe(2);
  expect(stderr).toMatch(/^tramontane: .*bash, zsh, fish\.?\n$/);
});

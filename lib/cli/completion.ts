/** `tramontane completion`: a script that completes commands and options, made of commander's own. */
import { Argument, Command, type Option } from 'commander';

const SHELLS = { bash, zsh, fish } as const;

/** @param program whose commands are read when the script is made */
export function completionCommand(program: Command): Command {
  return new Command('completion')
    .description('Writes a script that completes commands and options in a shell.')
    .addArgument(new Argument('<shell>', 'whose script it is').choices(Object.keys(SHELLS)))
    .addHelpText(
      'after',
      `
Examples:
  $ source <(tramontane completion bash)      in ~/.bashrc
  $ source <(tramontane completion zsh)       in ~/.zshrc, after compinit
  $ tramontane completion fish > ~/.config/fish/completions/tramontane.fish`,
    )
    .action((shell: keyof typeof SHELLS) => {
      process.stdout.write(SHELLS[shell](program.commands.map(describe)));
    });
}

/** What an option takes: nothing, a file, one of some words, or something else. */
interface Flag {
  readonly names: readonly string[];
  readonly about: string;
  readonly value?: 'file' | 'other' | readonly string[];
}

interface Described {
  readonly name: string;
  readonly about: string;
  readonly flags: readonly Flag[];
  /** Words for its arguments; files and directories where there are none. */
  readonly choices: readonly string[];
}

function describe(command: Command): Described {
  const options = command.createHelp().visibleOptions(command);
  return {
    name: command.name(),
    about: command.description(),
    flags: options.map(flagOf),
    choices: command.registeredArguments.flatMap(({ argChoices = [] }) => argChoices),
  };
}

function flagOf(option: Option): Flag {
  const { short, long, description, argChoices, flags } = option;
  const value = argChoices ?? (/<(file|path)>/.test(flags) ? 'file' : 'other');
  return {
    names: [long, short].filter((name) => name !== undefined),
    about: description,
    ...((option.required || option.optional) && { value }),
  };
}

/** A word of a shell, whatever is in it. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** What is no word of ours is a file: bash's own completion, by `-o default`, in any version. */
function bash(commands: readonly Described[]): string {
  const values = commands.flatMap(({ name, flags }) =>
    flags
      .filter(({ value }) => Array.isArray(value))
      .flatMap(({ names, value }) =>
        names.map((flag) => `${quoted(`${name} ${flag}`)}) words=${quoted(words(value))} ;;`),
      ),
  );
  const cases = commands.map(({ name, flags, choices }) => {
    const names = flags.flatMap(({ names }) => names);
    return `${name}) flags=${quoted(words(names))} words=${quoted(words(choices))} ;;`;
  });
  const names = words(commands.map(({ name }) => name));
  return `_tramontane() {
  local cur=\${COMP_WORDS[COMP_CWORD]} flags='--help --version' words=${quoted(`${names} help`)}
  if ((COMP_CWORD > 1)); then
    words=
    case \${COMP_WORDS[1]} in
      ${cases.join('\n      ')}
      help) words=${quoted(names)} ;;
    esac
    case "\${COMP_WORDS[1]} \${COMP_WORDS[COMP_CWORD-1]}" in
      ${values.join('\n      ')}
    esac
  fi
  [[ $cur == -* ]] && words=$flags
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _tramontane tramontane
`;
}

function words(list: Flag['value']): string {
  return [list ?? []].flat().join(' ');
}

function zsh(commands: readonly Described[]): string {
  const names = commands.map(({ name, about }) => `    ${quoted(`${name}:${about}`)}`);
  const cases = commands.map(({ name, flags, choices }) => {
    const rest = choices.length > 0 ? `*: :(${words(choices)})` : '*: :_files';
    const specs = [...flags.flatMap(zshSpecs), rest].map(quoted);
    return `    ${name}) _arguments ${specs.join(' ')} ;;`;
  });
  return `#compdef tramontane
_tramontane() {
  local -a commands=(
${names.join('\n')}
  )
  if ((CURRENT == 2)); then _describe command commands; return; fi
  shift words
  ((CURRENT--))
  case $words[1] in
${cases.join('\n')}
  esac
}
compdef _tramontane tramontane
`;
}

function zshSpecs({ names, about, value }: Flag): string[] {
  const text = about.replace(/[[\]:\\]/g, '\\$&');
  const after = value === undefined ? '' : value === 'file' ? ': :_files' : `: :(${words(value)})`;
  return names.map((name) => `*${name}[${text}]${value === 'other' ? ': :' : after}`);
}

function fish(commands: readonly Described[]): string {
  const lines = commands.flatMap(({ name, about, flags, choices }) => {
    const inCommand = `complete -c tramontane -n '__fish_seen_subcommand_from ${name}'`;
    return [
      `complete -c tramontane -n __fish_use_subcommand -f -a ${name} -d ${fishWord(about)}`,
      ...(choices.length > 0 ? [`${inCommand} -f -a ${fishWord(words(choices))}`] : []),
      ...flags.map(({ names, about, value }) => {
        const flagNames = names.map((flag) =>
          flag.replace(/^--/, '-l ').replace(/^-(?!l )/, '-s '),
        );
        return `${inCommand} ${flagNames.join(' ')}${fishValue(value)} -d ${fishWord(about)}`;
      }),
    ];
  });
  return `${lines.join('\n')}\n`;
}

function fishValue(value: Flag['value']): string {
  if (value === undefined) return '';
  if (value === 'file') return ' -r -F';
  return value === 'other' ? ' -x' : ` -x -a ${fishWord(words(value))}`;
}

function fishWord(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}

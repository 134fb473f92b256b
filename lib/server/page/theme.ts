import { byId } from './dom';
import { Stored } from './storage';

/** The system's theme until one is chosen. */
export function startTheme(): void {
  const system = matchMedia('(prefers-color-scheme: dark)');
  const stored = new Stored('localStorage', 'theme', (value) =>
    value === 'dark' || value === 'light' ? value : undefined,
  );
  const button = byId('theme');
  const theme = () => stored.read() ?? (system.matches ? 'dark' : 'light');
  const show = (name: 'dark' | 'light') => {
    document.documentElement.dataset['theme'] = name;
    const label = name === 'dark' ? 'Light theme' : 'Dark theme';
    button.setAttribute('aria-label', label);
    button.title = label;
  };
  system.addEventListener('change', () => {
    show(theme());
  });
  button.addEventListener('click', () => {
    const other = document.documentElement.dataset['theme'] === 'dark' ? 'light' : 'dark';
    stored.write(other);
    show(other);
  });
  show(theme());
}

import eslint from '@eslint/js';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  {
    ignores: ['build/', 'build-*/', 'coverage/', 'dist/', 'prebuilds/', 'test/fixtures/'],
  },
  eslint.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      // Numbers in messages need no conversion.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // noUncheckedIndexedAccess makes each indexed read possibly undefined; where the index was
      // just checked, `!` says so.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/prefer-for-of': 'off',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
    },
  },
  {
    // Dependencies point one way: cli -> model -> chat -> tokenizer -> files -> hub, and
    // model -> grammar. All but model and cli work, and are tested, without the addon.
    files: ['lib/files/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: ['**/model/*', '**/tokenizer/*', '!./tokenizer', '**/cli/*', '**/index'] },
      ],
    },
  },
  {
    // Where models come from: it needs errors alone.
    files: ['lib/hub/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            '**/model/*',
            '**/tokenizer/*',
            '**/chat/*',
            '**/files/*',
            '**/cli/*',
            '**/index',
          ],
        },
      ],
    },
  },
  {
    files: ['lib/grammar/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            '**/model/*',
            '**/chat/*',
            '**/files/*',
            '**/tokenizer/*',
            '**/cli/*',
            '**/index',
          ],
        },
      ],
    },
  },
  {
    files: ['lib/chat/**/*.ts'],
    rules: {
      'no-restricted-imports': ['error', { patterns: ['**/model/*', '**/cli/*', '**/index'] }],
    },
  },
  {
    files: ['lib/tokenizer/**/*.ts'],
    rules: {
      'no-restricted-imports': ['error', { patterns: ['**/model/*', '**/cli/*', '**/index'] }],
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // Tests reach into what they test, and hand over what the types forbid.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-empty-function': 'off',
      '@typescript-eslint/explicit-module-boundary-types': 'off',
      '@typescript-eslint/no-confusing-void-expression': 'off',
    },
  },
  {
    files: ['test/clients/*.mjs'],
    languageOptions: {
      globals: {
        AbortController: 'readonly',
        Buffer: 'readonly',
        fetch: 'readonly',
        process: 'readonly',
        Response: 'readonly',
        URL: 'readonly',
      },
    },
  },
  {
    files: ['examples/**/*.mjs', 'examples/**/*.js'],
    languageOptions: {
      globals: {
        console: 'readonly',
        process: 'readonly',
        ReadableStream: 'readonly',
        Response: 'readonly',
        TextEncoderStream: 'readonly',
        URL: 'readonly',
      },
      parserOptions: { ecmaFeatures: { jsx: true } },
    },
  },
  {
    files: ['**/*.js'],
    ignores: ['examples/**'],
    languageOptions: {
      sourceType: 'commonjs',
      globals: {
        console: 'readonly',
        module: 'writable',
        process: 'readonly',
        Response: 'readonly',
        require: 'readonly',
        __dirname: 'readonly',
      },
    },
  },
);

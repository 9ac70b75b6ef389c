import js from '@eslint/js';
import hooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['lib/', 'build-test/', 'node_modules/', 'src/generated/'] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    files: ['src/**/*.{ts,tsx}', 'test/**/*.ts'],
    languageOptions: {
      parserOptions: { projectService: false, project: ['./tsconfig.json', './tsconfig.test.json'] }
    },
    plugins: { 'react-hooks': hooks },
    rules: {
      ...hooks.configs.recommended.rules,
      'no-console': 'error',
      eqeqeq: 'error',
      curly: 'error',
      'max-lines': ['error', { max: 400, skipComments: true }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'separate-type-imports' }],
      '@typescript-eslint/naming-convention': [
        'error',
        { selector: 'interface', format: ['PascalCase'], custom: { regex: '^I[A-Z]', match: true } }
      ],
      // Merging an interface with a namespace of the same name is how this ecosystem names option types.
      '@typescript-eslint/no-namespace': 'off'
    }
  },
  {
    // Only this module handles untyped data.
    files: ['src/leases/validate.ts'],
    rules: { '@typescript-eslint/no-explicit-any': 'off' }
  },
  {
    // The promise of node:test's test() is awaited by the runner.
    files: ['test/**/*.ts'],
    rules: { '@typescript-eslint/no-floating-promises': 'off' }
  }
);

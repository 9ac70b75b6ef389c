// Builds the module of GPUWidget into the Python package: one file of code and one of styles, which anywidget sends.

import { build } from 'esbuild';

await build({
  entryPoints: { widget: 'src/widget/index.tsx' },
  outdir: '../fastgpu_jupyter/kernel/widget/static',
  bundle: true,
  format: 'esm',
  jsx: 'transform',
  jsxFactory: 'React.createElement',
  jsxFragment: 'React.Fragment',
  alias: { react: './src/widget/react.mjs' },
  target: 'es2022',
  minify: true,
  charset: 'utf8', // The kernel looks for texts in the module.
  legalComments: 'none',
  logLevel: 'warning'
});

await build({
  entryPoints: { widget: 'style/widget.css' },
  outdir: '../fastgpu_jupyter/kernel/widget/static',
  bundle: true,
  minify: true,
  logLevel: 'warning'
});

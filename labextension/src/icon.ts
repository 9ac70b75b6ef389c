import { LabIcon } from '@jupyterlab/ui-components';

import svgstr from '../style/icons/fastgpu.svg';

export const fastgpuIcon = new LabIcon({ name: 'fastgpu-jupyter:fastgpu', svgstr });

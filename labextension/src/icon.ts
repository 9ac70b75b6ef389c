import { LabIcon } from '@jupyterlab/ui-components';

import logoSvg from '../style/icons/logo.svg';
import svgstr from '../style/icons/fastgpu.svg';
import slidersSvg from '../style/icons/sliders.svg';

export const fastgpuIcon = new LabIcon({ name: 'fastgpu-jupyter:fastgpu', svgstr });

/** The logo of the kernels, on the cards of the launcher; the style sheet finds the cards by their icons. */
export const launcherIcon = new LabIcon({ name: 'fastgpu-jupyter:launcher', svgstr: logoSvg });

export const chooseIcon = new LabIcon({ name: 'fastgpu-jupyter:choose', svgstr: slidersSvg });

import 'uplot/dist/uPlot.min.css';
import './controls.css';
import './base.css';

import 'uplot/dist/uPlot.min.css';
import './controls.css';
import './launch.css';
import './base.css';
import './jobs.css';

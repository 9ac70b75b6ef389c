// Sentences of the codes whose fallback text is not a sentence.

import type { MessageTemplate } from '../texts/message';

export const MESSAGES: Readonly<Record<string, MessageTemplate>> = {
  'end.released': 'It was released.',
  'end.cancelled': 'The request was cancelled while it waited.',
  'end.holder_died': 'Its process ended.',
  'end.device_lost': 'Its GPU was lost.',
  'end.prepare_failed': 'Its GPU could not be prepared.',
  'end.resume_failed': 'Its parked memory could not be brought back to a GPU.',
  'end.expired': 'It waited as long as its request allowed.',
  'end.over_limit': 'It used more GPU memory than it had.',
  'end.revoked': 'It was revoked by an operator.',
  'park.asked': 'Its user parked it.',
  'park.idle': 'No cell ran, and another request needed the GPU.',
  'park.priority': 'A request of a higher priority needed the GPU.',
  'park.guarantee': 'A tenant that has less than it is guaranteed needed the GPU.',
  'park.fairness': 'Its turn was over, and a tenant that has had less needed the GPU.',
  'park.budget': 'The money for it is spent.',
  'park.move': 'It moves to another GPU, so that a request that waits fits where it was.',
  'park.over_limit': 'It used more GPU memory than it has.',
  'park.health': 'It moves to another GPU, because its own is unhealthy or is being emptied.',
  'park.restart':
    'It moves to another GPU without its memory, because its kernel is restarted.'
};

// Generated from fastgpu_jupyter/wire by `make generate`. Do not edit.

import type { ISchema } from '../leases/validate';

export const SCHEMAS: Readonly<Record<string, ISchema>> = {
  AdviceView: {
    type: 'object',
    properties: {
      advice: { anyOf: [{ $ref: 'SizeAdvice' }, { type: 'null' }] },
      reason: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      silenced: { type: 'boolean' }
    }
  },
  AllocationView: {
    type: 'object',
    properties: {
      job: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      lease_id: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      memory_bytes: { type: 'integer', minimum: 0 },
      mine: { type: 'boolean' },
      notebook: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      state: {
        enum: [
          'waiting',
          'preparing',
          'active',
          'parking',
          'parked',
          'resuming',
          'draining',
          'ended'
        ],
        type: 'string'
      },
      tenant: { anyOf: [{ $ref: 'TenantReference' }, { type: 'null' }] }
    }
  },
  ChangedMessage: {
    type: 'object',
    properties: {
      devices: { type: 'array', items: { $ref: 'DeviceView' } },
      leases: { type: 'array', items: { $ref: 'LeaseView' } },
      pool: { $ref: 'PoolView' },
      queue: { type: 'array', items: { $ref: 'QueueEntryView' } },
      seq: { type: 'integer', minimum: 0 },
      type: { enum: ['changed'] }
    },
    optional: ['pool']
  },
  ClusterKindView: {
    type: 'object',
    properties: {
      default_partition: { type: 'boolean' },
      memory_bytes: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      mig: { type: 'array', items: { type: 'string' } },
      model: { type: 'string' },
      nodes: { type: 'integer', minimum: 0 },
      partition: { type: 'string' },
      per_node_max: { type: 'integer', minimum: 1 },
      shards_per_gpu: {
        anyOf: [
          { type: 'integer', minimum: 1 },
          { type: 'null' }
        ]
      },
      time_limit_max_ms: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      }
    }
  },
  DeviceAccessView: {
    type: 'object',
    properties: {
      message: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      nodes: { type: 'array', items: { type: 'string' } },
      restricted: { type: 'boolean' }
    }
  },
  DeviceCapabilitiesView: {
    type: 'object',
    properties: {
      mechanisms: {
        type: 'array',
        items: {
          enum: [
            'exclusive',
            'mig',
            'mps',
            'shared',
            'simulated',
            'cluster'
          ],
          type: 'string'
        }
      },
      parkable: { type: 'boolean' },
      partitions: { type: 'array', items: { type: 'string' } }
    }
  },
  DeviceHealthView: {
    type: 'object',
    properties: {
      message: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      missing_since: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      state: {
        enum: ['healthy', 'suspect', 'faulty', 'missing'],
        type: 'string'
      }
    }
  },
  DeviceMemoryView: {
    type: 'object',
    properties: {
      free_bytes: { type: 'integer', minimum: 0 },
      total_bytes: { type: 'integer', minimum: 0 },
      used_bytes: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      }
    }
  },
  DeviceReading: {
    type: 'object',
    properties: {
      id: { type: 'string' },
      memory: { $ref: 'MemoryReading' },
      usage: { $ref: 'DeviceUsageView' }
    }
  },
  DeviceUsageView: {
    type: 'object',
    properties: {
      utilization_percent: {
        anyOf: [
          {
            type: 'integer',
            minimum: 0,
            maximum: 100
          },
          { type: 'null' }
        ]
      }
    }
  },
  DeviceView: {
    type: 'object',
    properties: {
      allocations: { type: 'array', items: { $ref: 'AllocationView' } },
      capabilities: { $ref: 'DeviceCapabilitiesView' },
      drained: { type: 'boolean' },
      health: { $ref: 'DeviceHealthView' },
      id: { type: 'string' },
      index: { type: 'integer', minimum: 0 },
      memory: { $ref: 'DeviceMemoryView' },
      model: { type: 'string' },
      processes_message: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      rate_micro_per_hour: { type: 'integer', minimum: 0 },
      simulated: { type: 'boolean' },
      unleased_processes: {
        type: 'array',
        items: { $ref: 'UnleasedProcessView' }
      },
      usage: { $ref: 'DeviceUsageView' }
    }
  },
  EstimateView: {
    type: 'object',
    properties: {
      basis: { $ref: 'MessageView' },
      wait_ms: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] }
    }
  },
  GroupView: {
    type: 'object',
    properties: {
      group: { type: 'string' },
      guaranteed_milli: { type: 'integer', minimum: 0 },
      held_cpu_milli: { type: 'integer', minimum: 0 },
      held_memory_bytes: { type: 'integer', minimum: 0 },
      held_milli: { type: 'integer', minimum: 0 },
      limit_milli: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
      weight: { type: 'integer', minimum: 0 }
    }
  },
  HistoryView: {
    type: 'object',
    properties: {
      energy_millijoule: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      memory_used_bytes: {
        type: 'array',
        items: {
          anyOf: [
            {
              type: 'integer',
              minimum: 0
            },
            { type: 'null' }
          ]
        }
      },
      memory_used_bytes_max: {
        type: 'array',
        items: {
          anyOf: [
            {
              type: 'integer',
              minimum: 0
            },
            { type: 'null' }
          ]
        }
      },
      power_milliwatt: {
        type: 'array',
        items: {
          anyOf: [
            { type: 'integer', minimum: 0 },
            { type: 'null' }
          ]
        }
      },
      resolution_ms: { type: 'integer', minimum: 1 },
      started_at: { type: 'integer' },
      temperature_celsius: {
        type: 'array',
        items: {
          anyOf: [
            { type: 'integer' },
            { type: 'null' }
          ]
        }
      },
      utilization_percent: {
        type: 'array',
        items: {
          anyOf: [
            {
              type: 'integer',
              minimum: 0,
              maximum: 100
            },
            { type: 'null' }
          ]
        }
      }
    }
  },
  IdleStepView: {
    type: 'object',
    properties: {
      after_ms: { type: 'integer', minimum: 0 },
      step: {
        enum: ['notify', 'park', 'release', 'shut_down'],
        type: 'string'
      }
    }
  },
  IngredientView: {
    type: 'object',
    properties: {
      category: { type: 'string' },
      digest: { type: 'string' },
      name: { type: 'string' },
      shown: { anyOf: [{ type: 'string' }, { type: 'null' }] }
    }
  },
  IntentView: {
    type: 'object',
    properties: {
      expires_in_ms: { type: 'integer', minimum: 0 },
      kernel_id: { type: 'string' },
      start: { enum: ['sessions', 'kernels'], type: 'string' }
    }
  },
  JobCacheView: {
    type: 'object',
    properties: {
      computed_at: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
      message: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      outcome: {
        anyOf: [
          {
            enum: ['hit', 'miss', 'not_cached', 'waiting'],
            type: 'string'
          },
          { type: 'null' }
        ]
      },
      saved_micro: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      }
    }
  },
  JobDetailsView: {
    type: 'object',
    properties: {
      computed_at: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
      cost_micro: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      digest: { type: 'string' },
      files: { type: 'array', items: { $ref: 'JobFileView' } },
      gpu: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      notebook_bytes: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      outputs: { type: 'array', items: { $ref: 'JobOutputView' } },
      outputs_left_out: { type: 'integer', minimum: 0 },
      values: { type: 'array', items: { $ref: 'JobValueView' } }
    }
  },
  JobEnvironmentView: {
    type: 'object',
    properties: {
      cwd: { type: 'string' },
      interpreter: { type: 'string' },
      variables: { type: 'array', items: { type: 'string' } }
    }
  },
  JobErrorView: { type: 'object', properties: { name: { type: 'string' }, text: { type: 'string' } } },
  JobExplanation: {
    type: 'object',
    properties: {
      ingredients: { type: 'array', items: { $ref: 'IngredientView' } },
      key: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      messages: { type: 'array', items: { $ref: 'MessageView' } },
      outcome: {
        anyOf: [
          {
            enum: [
              'hit',
              'miss',
              'not_cached',
              'waiting'
            ],
            type: 'string'
          },
          { type: 'null' }
        ]
      }
    }
  },
  JobFileView: {
    type: 'object',
    properties: { bytes: { type: 'integer', minimum: 0 }, path: { type: 'string' } }
  },
  JobGPUView: {
    type: 'object',
    properties: {
      device_ids: { type: 'array', items: { type: 'string' } },
      model: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      simulated: { type: 'boolean' }
    }
  },
  JobLog: {
    type: 'object',
    properties: {
      end: { type: 'integer', minimum: 0 },
      offset: { type: 'integer', minimum: 0 },
      size: { type: 'integer', minimum: 0 },
      text: { type: 'string', maxLength: 1048576 }
    }
  },
  JobOutputView: {
    type: 'object',
    properties: {
      index: { type: 'integer', minimum: 0 },
      media_type: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      stream: { type: 'string' },
      text: { type: 'string', maxLength: 1048576 }
    }
  },
  JobProgressView: {
    type: 'object',
    properties: {
      done: { type: 'integer' },
      text: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      total: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
      unit: { anyOf: [{ type: 'string' }, { type: 'null' }] }
    }
  },
  JobResultView: {
    type: 'object',
    properties: {
      bytes: { type: 'integer', minimum: 0 },
      digest: { type: 'string' },
      files: { type: 'array', items: { type: 'string' } },
      notebook: { type: 'boolean' },
      outputs: { type: 'integer', minimum: 0 },
      values: { type: 'array', items: { type: 'string' } }
    }
  },
  JobValueView: {
    type: 'object',
    properties: {
      bytes: { type: 'integer', minimum: 0 },
      name: { type: 'string' },
      type: { type: 'string' }
    }
  },
  JobView: {
    type: 'object',
    properties: {
      after: { type: 'array', items: { type: 'integer' } },
      attempt: { type: 'integer', minimum: 0 },
      cache: { anyOf: [{ $ref: 'JobCacheView' }, { type: 'null' }] },
      cancelling: { type: 'boolean' },
      cost_micro: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
      currency: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      ended_at: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
      environment: { $ref: 'JobEnvironmentView' },
      error: { anyOf: [{ $ref: 'JobErrorView' }, { type: 'null' }] },
      estimate_ms: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
      exit_status: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
      gpu: { anyOf: [{ $ref: 'JobGPUView' }, { type: 'null' }] },
      id: { type: 'integer' },
      jobs_before: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
      kernel_id: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      kind: { enum: ['command', 'function', 'cell', 'notebook'], type: 'string' },
      lease_id: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      lease_state: {
        anyOf: [
          {
            enum: [
              'waiting',
              'preparing',
              'active',
              'parking',
              'parked',
              'resuming',
              'draining',
              'ended'
            ],
            type: 'string'
          },
          { type: 'null' }
        ]
      },
      log_bytes: { type: 'integer', minimum: 0 },
      log_tail: { type: 'array', items: { type: 'string' } },
      name: { type: 'string' },
      notebook: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      notes: { type: 'array', items: { $ref: 'MessageView' } },
      position: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
      priority: { enum: ['low', 'normal', 'high', 'system'], type: 'string' },
      progress: { anyOf: [{ $ref: 'JobProgressView' }, { type: 'null' }] },
      rate_micro: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
      reason: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      result: { anyOf: [{ $ref: 'JobResultView' }, { type: 'null' }] },
      retention: { enum: ['yield', 'hold'], type: 'string' },
      retries: { type: 'integer', minimum: 0 },
      size: { type: 'string' },
      started_at: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
      state: {
        enum: ['queued', 'running', 'done', 'failed', 'cancelled', 'lost'],
        type: 'string'
      },
      submitted_at: { type: 'integer' },
      timeout_ms: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
      version: { type: 'integer', minimum: 0 }
    }
  },
  JobsMessage: {
    type: 'object',
    properties: {
      gone: { type: 'array', items: { type: 'integer' } },
      jobs: { type: 'array', items: { $ref: 'JobView' } },
      queue: {
        anyOf: [
          { type: 'array', items: { type: 'integer' } },
          { type: 'null' }
        ]
      },
      reset: { type: 'boolean' },
      type: { enum: ['jobs'] }
    }
  },
  JobsUnreachableMessage: {
    type: 'object',
    properties: {
      message: { type: 'string' },
      since: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
      type: { enum: ['jobs_unreachable'] }
    }
  },
  JobsUsage: {
    type: 'object',
    properties: {
      cached: { type: 'integer', minimum: 0 },
      job_bytes: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
      jobs: { type: 'integer', minimum: 0 },
      queued: { type: 'integer', minimum: 0 },
      result_bytes: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      results: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
      running: { type: 'integer', minimum: 0 }
    }
  },
  KeepaliveMessage: { type: 'object', properties: { type: { enum: ['keepalive'] } } },
  KeptKernelList: {
    type: 'object',
    properties: { kernels: { type: 'array', items: { $ref: 'KeptKernelView' } } }
  },
  KeptKernelView: {
    type: 'object',
    properties: {
      ends_at: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
      kernel_id: { type: 'string' },
      kernelspec: { type: 'string' },
      lease_id: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      memory_bytes: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      notebook: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      root: { type: 'string' },
      since: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
      state: {
        enum: ['starting', 'running', 'waiting', 'idle', 'unknown'],
        type: 'string'
      }
    }
  },
  LeaseClusterView: {
    type: 'object',
    properties: {
      account: { type: 'string' },
      constraint: { type: 'string' },
      ends_at: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      engine: { type: 'string' },
      host: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      job_id: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      job_name: { type: 'string' },
      kernel: { anyOf: [{ $ref: 'RemoteKernelView' }, { type: 'null' }] },
      launcher: {
        anyOf: [
          { type: 'array', items: { type: 'string' } },
          { type: 'null' }
        ]
      },
      message: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      partition: { type: 'string' },
      position: {
        anyOf: [
          { type: 'integer', minimum: 1 },
          { type: 'null' }
        ]
      },
      qos: { type: 'string' },
      reason: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      starts_at: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      state: {
        enum: [
          'submitting',
          'queued',
          'starting',
          'running',
          'ending',
          'over'
        ],
        type: 'string'
      },
      time_limit_ms: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      }
    }
  },
  LeaseEnforcementView: {
    type: 'object',
    properties: {
      memory_limit: {
        anyOf: [
          {
            enum: [
              'hardware',
              'driver',
              'userspace',
              'cooperative',
              'none'
            ],
            type: 'string'
          },
          { type: 'null' }
        ]
      },
      message: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      scope: {
        anyOf: [
          {
            enum: ['lease', 'process'],
            type: 'string'
          },
          { type: 'null' }
        ]
      }
    }
  },
  LeaseHealthView: {
    type: 'object',
    properties: {
      message: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      migration: {
        anyOf: [
          {
            enum: ['live', 'restart', 'accepted'],
            type: 'string'
          },
          { type: 'null' }
        ]
      },
      missing_since: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      }
    }
  },
  LeaseHolderView: {
    type: 'object',
    properties: {
      job: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      kernel_id: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      notebook: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      orphaned_at: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      pid: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] }
    }
  },
  LeaseIdleView: {
    type: 'object',
    properties: {
      cells_idle_since: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      gpu_idle_since: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      message: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      next: { anyOf: [{ $ref: 'NextIdleStepView' }, { type: 'null' }] },
      snoozed_until: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      steps: { type: 'array', items: { $ref: 'IdleStepView' } },
      taken: {
        anyOf: [
          {
            enum: [
              'notify',
              'park',
              'release',
              'shut_down'
            ],
            type: 'string'
          },
          { type: 'null' }
        ]
      }
    }
  },
  LeaseMemoryView: {
    type: 'object',
    properties: {
      limit_bytes: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      used_bytes: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      }
    }
  },
  LeaseMoneyReading: {
    type: 'object',
    properties: {
      billed_micro_per_hour: { type: 'integer', minimum: 0 },
      cost_at: { type: 'integer', minimum: 0 },
      cost_micro: { type: 'integer', minimum: 0 }
    }
  },
  LeaseMoneyView: {
    type: 'object',
    properties: {
      billed_micro_per_hour: { type: 'integer', minimum: 0 },
      budget_micro: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      budget_percent: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      cost_at: { type: 'integer', minimum: 0 },
      cost_micro: { type: 'integer', minimum: 0 },
      covered_milli: { type: 'integer', minimum: 0 },
      currency: { type: 'string' },
      message: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      rate_micro_per_hour: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      }
    }
  },
  LeaseParkingView: {
    type: 'object',
    properties: {
      obstacle: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      parkable: { type: 'boolean' },
      parked_bytes: { type: 'integer', minimum: 0 },
      reason: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      retention: { enum: ['yield', 'hold'], type: 'string' }
    }
  },
  LeaseQueueView: {
    type: 'object',
    properties: {
      estimate_basis: { $ref: 'MessageView' },
      estimate_ms: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      holder: { anyOf: [{ $ref: 'QueueHolderView' }, { type: 'null' }] },
      position: { type: 'integer', minimum: 0 },
      reason: { $ref: 'MessageView' }
    }
  },
  LeaseReading: {
    type: 'object',
    properties: {
      id: { type: 'string' },
      memory: { $ref: 'MemoryReading' },
      money: { $ref: 'LeaseMoneyReading' },
      usage: { $ref: 'LeaseUsageReading' }
    }
  },
  LeaseRequestView: {
    type: 'object',
    properties: {
      cpu_milli: { type: 'integer', minimum: 0 },
      host_memory_bytes: { type: 'integer', minimum: 0 },
      isolation: { enum: ['none', 'limited', 'hardware'], type: 'string' },
      priority: {
        enum: ['low', 'normal', 'high', 'system'],
        type: 'string'
      },
      size: { type: 'string' }
    }
  },
  LeaseScrubView: {
    type: 'object',
    properties: {
      bytes: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
      message: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      result: {
        enum: ['gone', 'device_gone', 'unknown', 'overwritten'],
        type: 'string'
      }
    }
  },
  LeaseSizeView: {
    type: 'object',
    properties: {
      applied: {
        anyOf: [
          {
            enum: ['applied', 'pending', 'needs_restart'],
            type: 'string'
          },
          { type: 'null' }
        ]
      },
      message: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      requested: { anyOf: [{ type: 'string' }, { type: 'null' }] }
    }
  },
  LeaseTimesView: {
    type: 'object',
    properties: {
      ended_at: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      granted_at: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      requested_at: { type: 'integer', minimum: 0 }
    }
  },
  LeaseUsageReading: {
    type: 'object',
    properties: {
      active_ms: { type: 'integer', minimum: 0 },
      utilization_percent: {
        anyOf: [
          {
            type: 'integer',
            minimum: 0,
            maximum: 100
          },
          { type: 'null' }
        ]
      }
    }
  },
  LeaseUsageView: {
    type: 'object',
    properties: {
      active_ms: { type: 'integer', minimum: 0 },
      busy: { anyOf: [{ type: 'boolean' }, { type: 'null' }] },
      last_used_at: { type: 'integer', minimum: 0 },
      utilization_percent: {
        anyOf: [
          {
            type: 'integer',
            minimum: 0,
            maximum: 100
          },
          { type: 'null' }
        ]
      }
    }
  },
  LeaseView: {
    type: 'object',
    properties: {
      cluster: { anyOf: [{ $ref: 'LeaseClusterView' }, { type: 'null' }] },
      cpu_meanwhile: { type: 'boolean' },
      device_access: { $ref: 'DeviceAccessView' },
      end_reason: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      enforcement: { $ref: 'LeaseEnforcementView' },
      environment: { type: 'object', additionalProperties: { type: 'string' } },
      gpu: { anyOf: [{ $ref: 'LogicalGPUView' }, { type: 'null' }] },
      health: { $ref: 'LeaseHealthView' },
      hidden_environment: {
        type: 'object',
        additionalProperties: { type: 'string' }
      },
      holder: { $ref: 'LeaseHolderView' },
      id: { type: 'string' },
      idle: { $ref: 'LeaseIdleView' },
      memory: { $ref: 'LeaseMemoryView' },
      money: { $ref: 'LeaseMoneyView' },
      notes: { type: 'array', items: { $ref: 'MessageView' } },
      parking: { $ref: 'LeaseParkingView' },
      queue: { anyOf: [{ $ref: 'LeaseQueueView' }, { type: 'null' }] },
      request: { $ref: 'LeaseRequestView' },
      scrub: { anyOf: [{ $ref: 'LeaseScrubView' }, { type: 'null' }] },
      size: { $ref: 'LeaseSizeView' },
      state: {
        enum: [
          'waiting',
          'preparing',
          'active',
          'parking',
          'parked',
          'resuming',
          'draining',
          'ended'
        ],
        type: 'string'
      },
      tenant: { $ref: 'TenantReference' },
      times: { $ref: 'LeaseTimesView' },
      usage: { $ref: 'LeaseUsageView' },
      version: { type: 'integer', minimum: 0 }
    }
  },
  LogicalGPUView: {
    type: 'object',
    properties: {
      device_ids: { type: 'array', items: { type: 'string' } },
      mechanism: {
        enum: [
          'exclusive',
          'mig',
          'mps',
          'shared',
          'simulated',
          'cluster'
        ],
        type: 'string'
      },
      mechanism_reason: {
        anyOf: [
          { $ref: 'MessageView' },
          { type: 'null' }
        ]
      },
      model: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      partition: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      simulated: { type: 'boolean' }
    }
  },
  MemoryReading: {
    type: 'object',
    properties: {
      used_bytes: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      }
    }
  },
  MessageView: {
    type: 'object',
    properties: {
      code: { type: 'string' },
      params: {
        type: 'object',
        additionalProperties: {
          anyOf: [
            { type: 'string' },
            { type: 'number' },
            { type: 'boolean' },
            {
              type: 'array',
              items: {
                anyOf: [
                  {
                    type: 'string'
                  },
                  {
                    $ref: 'MessageView'
                  }
                ]
              }
            },
            { $ref: 'MessageView' }
          ]
        }
      },
      text: { type: 'string' }
    }
  },
  NextIdleStepView: {
    type: 'object',
    properties: {
      at: { type: 'integer', minimum: 0 },
      step: {
        enum: ['notify', 'park', 'release', 'shut_down'],
        type: 'string'
      }
    }
  },
  PoolClusterView: {
    type: 'object',
    properties: {
      engine: { type: 'string' },
      kinds: {
        anyOf: [
          {
            type: 'array',
            items: { $ref: 'ClusterKindView' }
          },
          { type: 'null' }
        ]
      },
      message: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      partitions: { type: 'array', items: { type: 'string' } },
      simulated: { type: 'boolean' },
      time_limit_default_ms: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      unanswered_since: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      version: { anyOf: [{ type: 'string' }, { type: 'null' }] }
    }
  },
  PoolView: {
    type: 'object',
    properties: {
      accepting: { type: 'boolean' },
      carried_over: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      cluster: { anyOf: [{ $ref: 'PoolClusterView' }, { type: 'null' }] },
      counters_silent_since: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      currency: { type: 'string' },
      id: { type: 'string' },
      message: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      scope: { enum: ['user', 'system'], type: 'string' },
      simulated: { type: 'boolean' },
      started_at: { type: 'integer', minimum: 0 },
      version: { type: 'string' }
    }
  },
  PruneReport: {
    type: 'object',
    properties: {
      freed_bytes: { type: 'integer', minimum: 0 },
      jobs: { type: 'integer', minimum: 0 },
      results: { type: 'integer', minimum: 0 }
    }
  },
  QueueEntryView: {
    type: 'object',
    properties: {
      estimate_basis: { $ref: 'MessageView' },
      estimate_ms: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      holder: { anyOf: [{ $ref: 'QueueHolderView' }, { type: 'null' }] },
      job: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      lease_id: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      memory_bytes: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      mine: { type: 'boolean' },
      notebook: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      position: { type: 'integer', minimum: 0 },
      priority: {
        enum: ['low', 'normal', 'high', 'system'],
        type: 'string'
      },
      reason: { $ref: 'MessageView' },
      size: { type: 'string' },
      tenant: { anyOf: [{ $ref: 'TenantReference' }, { type: 'null' }] },
      waiting_since: { type: 'integer', minimum: 0 }
    }
  },
  QueueHolderView: {
    type: 'object',
    properties: {
      lease_id: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      message: { $ref: 'MessageView' },
      notebook: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      yields_at: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      }
    }
  },
  QuotaView: {
    type: 'object',
    properties: {
      groups: { type: 'array', items: { $ref: 'GroupView' } },
      tenants: { type: 'array', items: { $ref: 'TenantView' } }
    }
  },
  RemoteKernelView: {
    type: 'object',
    properties: {
      exit_code: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
      generation: { type: 'integer', minimum: 1 },
      pid: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
      started_at: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      state: { enum: ['starting', 'running', 'ended'], type: 'string' }
    }
  },
  RequestedView: {
    type: 'object',
    properties: {
      kept_for_ms: { type: 'integer', minimum: 0 },
      lease: { $ref: 'LeaseView' }
    }
  },
  SizeAdvice: {
    type: 'object',
    properties: {
      basis: { $ref: 'MessageView' },
      cells: { type: 'integer', minimum: 0 },
      of_memory_bytes: { type: 'integer', minimum: 0 },
      peak_memory_bytes: { type: 'integer', minimum: 0 },
      rate_micro: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
      saving_milli: { type: 'integer', minimum: 0, maximum: 1000 },
      size: { type: 'string' },
      span_ms: { type: 'integer', minimum: 0 },
      utilization_milli: {
        anyOf: [
          {
            type: 'integer',
            minimum: 0,
            maximum: 1000
          },
          { type: 'null' }
        ]
      }
    }
  },
  SizeModelView: {
    type: 'object',
    properties: {
      devices: { type: 'integer', minimum: 1 },
      memory_bytes: { type: 'integer', minimum: 0 },
      model: { type: 'string' }
    }
  },
  SizeOption: {
    type: 'object',
    properties: {
      devices: { type: 'integer', minimum: 1 },
      effect: {
        enum: [
          'now',
          'after_parking',
          'needs_restart',
          'queued',
          'unavailable'
        ],
        type: 'string'
      },
      enforcement: {
        anyOf: [
          {
            enum: [
              'hardware',
              'driver',
              'userspace',
              'cooperative',
              'none'
            ],
            type: 'string'
          },
          { type: 'null' }
        ]
      },
      estimate: { anyOf: [{ $ref: 'EstimateView' }, { type: 'null' }] },
      mechanism: {
        anyOf: [
          {
            enum: [
              'exclusive',
              'mig',
              'mps',
              'shared',
              'simulated',
              'cluster'
            ],
            type: 'string'
          },
          { type: 'null' }
        ]
      },
      memory_bytes: { type: 'integer', minimum: 0 },
      model: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      position: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
      rate_micro: { anyOf: [{ type: 'integer', minimum: 0 }, { type: 'null' }] },
      reason: { anyOf: [{ $ref: 'MessageView' }, { type: 'null' }] },
      size: { type: 'string' }
    }
  },
  SizeOptions: {
    type: 'object',
    properties: {
      applied: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      lease_id: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      models: { type: 'array', items: { $ref: 'SizeModelView' } },
      options: { type: 'array', items: { $ref: 'SizeOption' } },
      requested: { anyOf: [{ type: 'string' }, { type: 'null' }] }
    }
  },
  SnapshotMessage: {
    type: 'object',
    properties: {
      devices: { type: 'array', items: { $ref: 'DeviceView' } },
      leases: { type: 'array', items: { $ref: 'LeaseView' } },
      pool: { $ref: 'PoolView' },
      queue: { type: 'array', items: { $ref: 'QueueEntryView' } },
      seq: { type: 'integer', minimum: 0 },
      type: { enum: ['snapshot'] }
    }
  },
  SpendingView: {
    type: 'object',
    properties: {
      budget_micro: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      budget_policy: {
        anyOf: [
          {
            enum: ['warn', 'stop', 'park'],
            type: 'string'
          },
          { type: 'null' }
        ]
      },
      busy_micro: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      currency: { type: 'string' },
      idle_micro: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      month: { type: 'string' },
      month_micro: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      observed_at: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      rate_micro_per_hour: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      today_micro: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      warn_milli: { type: 'integer', minimum: 0 }
    }
  },
  TenantReference: { type: 'object', properties: { key: { type: 'string' }, name: { type: 'string' } } },
  TenantView: {
    type: 'object',
    properties: {
      budget_micro_per_month: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      budget_percent: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      budget_policy: { enum: ['warn', 'stop', 'park'], type: 'string' },
      group: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      guaranteed_milli: { type: 'integer', minimum: 0 },
      held_cpu_milli: { type: 'integer', minimum: 0 },
      held_memory_bytes: { type: 'integer', minimum: 0 },
      held_milli: { type: 'integer', minimum: 0 },
      limit_milli: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      mine: { type: 'boolean' },
      reserved_milli: { type: 'integer', minimum: 0 },
      spent_micro: { type: 'integer', minimum: 0 },
      tenant: { $ref: 'TenantReference' },
      weight: { type: 'integer', minimum: 0 }
    }
  },
  UnleasedProcessView: {
    type: 'object',
    properties: {
      lease_id: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      memory_bytes: {
        anyOf: [
          { type: 'integer', minimum: 0 },
          { type: 'null' }
        ]
      },
      pid: { type: 'integer', minimum: 0 },
      user: { type: 'string' }
    }
  },
  UnreachableMessage: {
    type: 'object',
    properties: {
      message: { type: 'string' },
      since: { anyOf: [{ type: 'integer' }, { type: 'null' }] },
      type: { enum: ['unreachable'] }
    }
  },
  UsageMessage: {
    type: 'object',
    properties: {
      devices: { type: 'array', items: { $ref: 'DeviceReading' } },
      leases: { type: 'array', items: { $ref: 'LeaseReading' } },
      type: { enum: ['usage'] }
    }
  }
};

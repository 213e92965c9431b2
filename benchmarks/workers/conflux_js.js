// A node of Conflux JS with the load inside its process, spoken to as the other workers are.
// node conflux_js.js MODULES_DIRECTORY LABEL SIZE REDIS_URL CHANNEL_NAME
'use strict'
const [modules, label, size, redisUrl, channelName] = process.argv.slice(2)
const conflux = require(require.resolve('conflux', { paths: [modules] }))

const node = conflux({
  id: label,
  clusterSize: Number(size),
  channel: { name: 'redis', channelName, connectionString: redisUrl },
  methods: { append: text => text },
  reduce: (state, action) => action == null ? (state || []) : (state || []).concat(action)
})

const now = () => Number(process.hrtime.bigint()) / 1e9
const waiting = new Map() // payload -> what to call once it is in the state
const acknowledged = []
const uncertain = []
const prefix = `${process.pid.toString(16)}.${(Date.now() % 0x1000000).toString(16)}`
let number = 0
let seen = 0

// perform() answers before the commit, so an action counts once the committed state holds it.
node.subscribe(() => {
  const state = node.getState()
  for (; seen < state.length; seen++) {
    const done = waiting.get(state[seen])
    waiting.delete(state[seen])
    if (done) done()
  }
})

function percentiles (seconds) {
  const ordered = Float64Array.from(seconds).sort()
  const at = percent => ordered[Math.max(0, Math.ceil(ordered.length * percent / 100) - 1)] * 1000
  return ordered.length ? { p50: at(50), p90: at(90), p99: at(99), 'p99.9': at(99.9), max: at(100) } : {}
}

function load ({ in_flight: inFlight, seconds = 2, warm_up_seconds: warmUp = 0.5, size_bytes: size = 32 }, answer) {
  const latencies = []
  const errors = []
  const beganCpu = process.cpuUsage()
  const first = number
  const began = now()
  const [from, until] = [began + warmUp, began + warmUp + seconds]
  let flying = inFlight
  let isOver = false
  const finish = drained => {
    if (isOver) return
    isOver = true
    const wall = now() - began
    const cpu = process.cpuUsage(beganCpu)
    uncertain.push(...waiting.keys())
    waiting.clear()
    answer({
      operations: latencies.length,
      seconds,
      per_second: latencies.length / seconds,
      latency_ms: percentiles(latencies),
      attempts: number - first,
      errors: errors.length,
      first_errors: errors.slice(0, 3),
      drained,
      generator_cpu_share: (cpu.user + cpu.system) / 1e6 / wall
    })
  }
  const call = () => {
    const text = `${prefix}-${String(number++).padStart(size - prefix.length - 1, '0')}`
    const asked = now()
    const next = () => { if (now() < until) call(); else if (--flying === 0) finish(true) }
    waiting.set(text, () => {
      const heard = now()
      acknowledged.push(text)
      if (heard >= from && heard < until) latencies.push(heard - asked)
      next()
    })
    node.perform('append', [text]).catch(error => {
      if (!waiting.delete(text)) return
      uncertain.push(text)
      errors.push(String(error))
      setTimeout(next, 5)
    })
  }
  for (let each = 0; each < inFlight; each++) call()
  setTimeout(() => finish(false), (warmUp + seconds + 5) * 1000)
}

function check () {
  const counts = new Map()
  for (const text of node.getState()) counts.set(text, (counts.get(text) || 0) + 1)
  const missing = acknowledged.filter(text => !counts.has(text)).length
  const repeated = [...counts.values()].filter(count => count > 1).length
  const problems = []
  if (missing) problems.push(`${missing} acknowledged actions are missing`)
  if (repeated) problems.push(`${repeated} actions are there more than once`)
  return { problems, state_length: node.getState().length }
}

require('readline').createInterface({ input: process.stdin }).on('line', line => {
  const question = JSON.parse(line)
  const answer = found => process.stdout.write(JSON.stringify(found) + '\n')
  if (question.do === 'load') load(question, answer)
  else if (question.do === 'check') answer(check())
  else if (question.do === 'role') answer({ leader: node._gaggle.isLeader() })
  else answer({ error: `unknown: ${question.do}` })
}).on('close', () => process.exit(0))

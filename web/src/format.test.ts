import { beforeAll, describe, expect, it } from 'vitest'
import { bytes, duration, moment, number, parse_duration, percent, sample, series_name, subject_parts } from './format'
import { lang } from './i18n'

beforeAll(() => { lang.value = 'en' })

describe('numbers as people read them', () => {
  it.each([
    [null, '–'], [NaN, '–'], [0, '0 %'], [0.0041, '0.4 %'], [0.42, '42 %'], [1, '100 %'],
  ])('percent(%s) is %s', (v, want) => expect(percent(v as number)).toBe(want))
  it.each([
    [undefined, '–'], [0, '0 B'], [999, '999 B'], [1024, '1.00 KiB'], [27.3 * 2 ** 20, '27.3 MiB'], [24 * 2 ** 30, '24.0 GiB'], [1000 * 2 ** 20, '0.98 GiB'],
  ])('bytes(%s) is %s', (v, want) => expect(bytes(v as number)).toBe(want))
  it.each([
    [null, '–'], [0, '0'], [4, '4'], [0.12345, '0.123'], [118.4, '118'], [1843, '1843'], [12345, '12.3 k'], [2e6, '2 M'], [0.00001, '1.0e-5'],
  ])('number(%s) is %s', (v, want) => expect(number(v as number)).toBe(want))
  it.each([
    [null, '–'], [0, '0 s'], [0.0021, '2.1 ms'], [0.182, '182 ms'], [3.94, '3.9 s'], [59.99, '1 min'], [200, '3 min 20 s'], [7500, '2 h 5 min'], [273600, '3 d 4 h'], [-5, '-5 s'],
  ])('duration(%s) is %s', (v, want) => expect(duration(v as number)).toBe(want))
  it('a moment of today has no date, another day has', () => {
    const now = new Date(2026, 10, 21, 12, 0, 0).getTime()
    expect(moment(now - 1000, now)).toBe('11:59:59')
    expect(moment(now - 86_400_000, now)).toBe('2026-11-20 12:00:00')
  })
})

describe('durations in Chinese', () => {
  it.each([[0.182, '182 毫秒'], [200, '3 分 20 秒'], [7500, '2 小时 5 分']])('%s', (v, want) => {
    lang.value = 'zh'
    expect(duration(v)).toBe(want)
    lang.value = 'en'
  })
})

describe('words of Prometheus', () => {
  it.each([['5m', 300], ['1h30m', 5400], ['250ms', 0.25], ['1d', 86400]])('%s is %s seconds', (text, s) => expect(parse_duration(text)).toBe(s))
  it.each(['', '5', 'm', '5x', '5m '])('"%s" is no duration', (text) => expect(parse_duration(text)).toBeNaN())
  it('names a series as people write it', () => {
    expect(series_name({ __name__: 'up', job: 'x', path: 'a"b' })).toBe('up{job="x", path="a\\"b"}')
    expect(series_name({})).toBe('{}')
    expect(series_name({ __name__: 'up' })).toBe('up')
  })
  it('shortens only long values', () => { expect(sample('0.1')).toBe('0.1'); expect(sample('0.30000000000000004')).toBe('0.3'); expect(sample('+Inf')).toBe('+Inf') })
  it('takes an id apart', () => { expect(subject_parts('replica:chat/127.0.0.1:8000')).toEqual(['replica', 'chat/127.0.0.1:8000']); expect(subject_parts('x')).toEqual(['', 'x']) })
})

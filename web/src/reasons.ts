/* Why a healing episode is in its state, in Chinese. heal says it as one of these English sentences (heal/episode.c);
 * one that is not here is shown as it came. */
import { lang } from './i18n'

const zh: Record<string, string> = {
  'the mode is suggest: a person decides': '模式为“建议”：由人决定',
  'the mode is now auto': '模式已改为“自动”',
  'the action is under way': '动作正在执行',
  'the next step is under way': '下一步正在执行',
  'looking whether the golden signals come back': '正在确认黄金信号是否恢复',
  'the golden signals are back; making sure that they stay': '黄金信号已恢复，正在确认能否保持',
  'verified: the golden signals came back and stayed': '已验证：黄金信号恢复并保持',
  'the golden signals did not come back': '黄金信号没有恢复',
  'the fault went away before the next step': '下一步之前故障已消失',
  'the action gave no result in time': '动作没有及时返回结果',
  'the action is not possible on this target': '无法对该对象执行此动作',
  'the action failed': '动作失败',
  'every attempt has failed': '每次尝试都失败了',
  'the attempts allowed in an hour are used up': '一小时内允许的次数已用完',
  'the reason went away': '原因已消失',
  'the reason went away right before acting; nothing was done': '就在动手之前原因消失了，什么也没做',
  'the incident ended without us': '事件已自行结束',
  'healing was switched off': '自愈已关闭',
  'an operator has paused healing': '操作员已暂停自愈',
  'the fault is not seen at this moment': '此刻没有看到故障',
  "the policy's condition does not hold": '策略的条件不成立',
  'a person has been called for this target': '该对象已通知人工处理',
  'another policy is healing this target': '另一策略正在处理该对象',
  'as many targets as allowed are being healed already': '同时处理的对象已达上限',
  'the target is cooling down after the last attempt': '距上次尝试的间隔未到',
  'galen was restarted meanwhile; looking whether the action helped': 'galen 期间重启过，正在确认动作是否有效',
  'galen was restarted before the action ran': 'galen 在动作执行之前重启过',
  restart: '重启',
  exec: '执行命令',
  escalate: '通知人工',
}

export const all_reasons = zh
export const reason = (text: string | undefined): string => (lang.value === 'zh' && text ? zh[text] ?? text : text ?? '')

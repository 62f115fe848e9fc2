"""Words of the Chinese dialogues: closed classes as lists, open classes composed."""
from support.names import latin_name, error_code, version

BRAND_A = "青墨澄岚霁棠沐砚澜朔霖简禾松芷启拾渡归白赤玄鹿鲸鹭枫桐"
BRAND_B = "舟屿川雀竹石岭溪桥塔帆林笺纹弦灯荷烟湾谷原羽岸汐"
CATEGORY = """云盘 日历 工单 收银台 客服台 白板 记账本 考勤 表单 邮箱 知识库 会议室 打印助手 进销存 点餐
排班表 图床 笔记 网关 问卷 直播间 题库 课堂 物流 仓库 账本 监控 翻译 相册 浏览器 输入法 播放器 门禁 健身 菜谱""".split()
DEVICE = """路由器 净水器 智能门锁 音箱 扫地机 投影仪 打印机 洗衣机 洗碗机 空调 电饭煲 手环 摄像头 充电桩 加湿器
热水器 冰箱 烤箱 电动牙刷 咖啡机 显示器 键盘 耳机 平衡车 空气净化器 电子秤 学习机 行车记录仪 体脂秤 电视盒子""".split()
MODIFIER = """自动 定时 批量 离线 双向 共享 访客 夜间 增量 加密 一键 跨端 实时 匿名 多级 快捷 云端 本地 团队 家长
语音 远程 免密 静音 分屏 只读 循环 分组 临时 全局 低电量 节能 联合 分段 智能 手动""".split()
FEATURE = """标签 归档 同步 提醒 链接 水印 字幕 转写 排班 打卡 签收 汇总 脱敏 草稿箱 看板 录屏 投屏 比价 拼单 签名
快照 回滚 巡检 对账 分账 换绑 锁屏 测速 去重 校对 播报 抽检 盘点 留言板 日程 白名单 黑名单 通道 计费 回放""".split()
OBJECT = """发票 订单 工作区 相册 日程 问卷 账号 优惠券 会员卡 文件夹 群组 密码 头像 课程 快递 行程 合约 子账号
收货地址 银行卡 手机号 评论 草稿 附件 联系人 活动页 库存 报价单 采购单 值班表 待办事项 收藏夹 播放列表 购物车 退款申请
邀请码 笔记本 证书 域名 短信签名 门店 桌号 套餐 押金 礼品卡 点评 帖子 名片 印章 录音 监控录像 病历 准考证 座位 年假 日志""".split()
OBJECT_MOD = ["", "", "", "", "", "电子", "历史", "个人", "企业", "旧的", "测试用的", "已归档的", "重复的", "共用的", "过期的", "上传的"]
LISTS = {
    "plan": "免费版 基础版 标准版 专业版 企业版 旗舰版 家庭版 教育版 团队版 个人版 试用版 高级版 社区版 尊享版 青春版".split(),
    "platform": "手机上 网页版 Windows上 Mac上 安卓手机 iOS 平板上 小程序里 桌面客户端 Linux上 鸿蒙系统 电视上 电脑上 微信里 车机上 浏览器里 手表上".split(),
    "role": "管理员 访客 普通成员 财务 店长 代理商 外部协作者 审计员 实习生 客服 班主任 家长 项目经理 仓管员 收银员 供应商 子公司 分店 HR 开发者 版主 主播 司机 会员 新用户 老用户 学生".split(),
    "region": "华东区 华南区 华北区 西南区 西北区 东北区 华中区 港澳地区 海外 长三角 珠三角 北京 上海 杭州 成都 武汉 西安 厦门 长沙 青岛 昆明 郑州 沈阳 福州 南宁 新加坡 东京 德国 欧洲 北美".split(),
    "format": "CSV PDF Excel Word JSON XML PNG SVG MP4 Markdown TXT HTML PPT MP3 EPUB 图片 压缩包 WebP OFD YAML GIF WAV".split(),
    "integration": "钉钉 飞书 企业微信 Slack Jira GitHub Notion Zapier 金蝶 用友 支付宝 微信支付 GitLab Teams 高德地图 Outlook Gmail Salesforce 顺丰 淘宝 抖音 京东 Telegram Discord Dropbox 印象笔记 美团 百度网盘".split(),
    "metric": "退款率 转化率 订单量 客单价 毛利 活跃用户数 复购率 投诉量 签收率 营业额 访问量 好评率 缺货率 留存率 下载量 注册人数 库存周转天数 出勤率 能耗 工单数 在线时长 点击率 续约金额 净利润 坪效 故障次数 人均产出 配送时长 新增客户数".split(),
    "period": "本月 上个月 今年 去年 第一季度 第二季度 第三季度 上半年 下半年 上周 这周 昨天 今天 前天 双十一 国庆期间 春节期间 2023年5月 2022年 2025年3月 去年12月 最近7天 最近30天 周末 2021年第四季度 三月 八月 寒假 暑假 今年一季度".split(),
    "page": "设置页 个人中心 控制台 管理后台 账户页 帮助中心 安全中心 通知栏 侧边栏 首页 订单详情页 高级设置 隐私设置 开发者选项 费用中心 回收站 团队管理页 工具箱 消息中心 存储管理".split(),
    "button": "保存 确定 更多 分享 新建 编辑 申请 下一步 导出 同步 授权 提交 添加 启用 详情 重置".split(),
    "unit": "条 个 次 张 份 页 人 台 GB MB 元 天".split(),
    "gap": "分钟 小时 天 个工作日 周".split(),
    "title": "入门指南 数据安全白皮书 用户协议 夏日来信 山海之间 三分钟学会理财 隐私政策 员工手册 长夜灯火 菜鸟手册 年度报告 新手上路 安装说明 宝宝辅食大全 儿童编程 星尘旅店 海边的邮差 退换货须知 运营月刊".split(),
}


def product(s):
    """A product: 青舟云盘, 澄川 Tallybox, KestrelSync, a device with a model."""
    brand = s.pick(BRAND_A) + s.pick(BRAND_B)
    form = s.weighted({"zh": 5, "latin": 3, "device": 2, "mixed": 2})
    if form == "zh":
        return brand + s.pick(CATEGORY)
    if form == "latin":
        return latin_name(s)
    if form == "device":
        return brand + s.pick(["", "", "Pro", "X" + s.number(1, 9), "S" + s.number(10, 99)]) + s.pick(DEVICE)
    return brand + s.pick(["", " "]) + s.pick(["Lite", "Go", "One", "Pad", "Cloud", "Desk", "Flow", "Note", "Hub", "Mini", "Kit", "Pay"])


def feature(s):
    return s.pick(MODIFIER) + s.pick(FEATURE) + s.pick(["", "", "", "功能"])


def thing(s):
    return s.pick(OBJECT_MOD) + s.pick(OBJECT)


def mode(s):
    """One of several ways or sorts that an answer lists."""
    return s.pick(MODIFIER + "标准 极速 经典 严格 宽松 普通 精简 完整 自定义 混合 并行 串行 公开 内部 柔和 强力".split()) + s.pick("模式 方式 通道 视图 策略 接口 套餐 渠道 算法 布局 授权 配送 存储 扫描".split())


MAKERS = {"product": product, "feature": feature, "thing": thing, "mode": mode, "code": error_code,
          "version": version}
# Too few devices to keep words aside: a closed class.
LISTS["device"] = DEVICE

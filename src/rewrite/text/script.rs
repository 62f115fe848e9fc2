//! Simplified and traditional Chinese: telling them apart, and folding one to the other
//! for comparison. The table holds common characters only; a rare one is left as it is.

use std::sync::LazyLock;

/// Pairs of a simplified character and its traditional form, where each form is used in
/// its own script only.
const PAIRS: &str = "\
    爱愛碍礙罢罷摆擺败敗颁頒办辦绊絆帮幫绑綁镑鎊宝寶报報贝貝备備辈輩笔筆币幣闭閉毕畢边邊编編\
    变變辩辯标標宾賓饼餅拨撥补補财財参參残殘惨慘灿燦仓倉舱艙苍蒼测測层層产產长長偿償厂廠场場\
    车車陈陳称稱诚誠惩懲迟遲齿齒虫蟲础礎处處触觸传傳创創词詞辞辭聪聰从從错錯达達带帶贷貸担擔\
    单單胆膽弹彈当當挡擋党黨导導岛島灯燈邓鄧敌敵递遞点點电電东東动動冻凍栋棟断斷锻鍛对對队隊\
    顿頓夺奪额額恶惡儿兒尔爾饵餌发發阀閥罚罰饭飯贩販访訪纺紡飞飛费費坟墳奋奮愤憤丰豐风風锋鋒\
    冯馮凤鳳肤膚妇婦复復赋賦负負该該盖蓋赶趕刚剛钢鋼岗崗纲綱个個给給宫宮贡貢沟溝构構购購顾顧\
    关關观觀馆館惯慣贯貫广廣归歸规規轨軌贵貴滚滾锅鍋国國过過韩韓汉漢号號贺賀红紅护護沪滬华華\
    画畫话話怀懷坏壞欢歡环環换換黄黃挥揮辉輝会會汇匯绘繪获獲货貨祸禍击擊机機积積鸡雞级級极極\
    际際继繼计計记記纪紀夹夾价價驾駕监監坚堅间間艰艱检檢简簡见見舰艦渐漸践踐键鍵将將讲講奖獎\
    酱醬胶膠阶階节節结結紧緊仅僅进進尽盡劲勁经經惊驚镜鏡竞競净淨纠糾旧舊举舉据據剧劇惧懼觉覺\
    决決绝絕军軍开開课課垦墾恳懇库庫裤褲块塊宽寬矿礦亏虧扩擴阔闊来來赖賴兰蘭拦攔栏欄览覽懒懶\
    烂爛劳勞乐樂类類离離礼禮丽麗励勵历歷厉厲联聯连連脸臉练練炼煉恋戀粮糧两兩辆輛谅諒疗療辽遼\
    邻鄰临臨灵靈龄齡领領刘劉龙龍楼樓录錄陆陸虑慮绿綠乱亂轮輪论論罗羅逻邏络絡妈媽马馬吗嗎买買\
    卖賣麦麥满滿猫貓贸貿么麼没沒门門们們梦夢弥彌庙廟灭滅鸣鳴亩畝难難恼惱脑腦闹鬧内內拟擬鸟鳥\
    宁寧农農浓濃诺諾欧歐盘盤赔賠喷噴贫貧频頻评評凭憑苹蘋铺鋪谱譜齐齊骑騎启啟气氣弃棄迁遷签簽\
    谦謙钱錢浅淺强強墙牆抢搶桥橋侨僑亲親轻輕倾傾请請庆慶穷窮区區驱驅权權劝勸确確让讓扰擾热熱\
    认認荣榮软軟润潤赛賽伞傘丧喪扫掃杀殺晒曬闪閃伤傷赏賞烧燒设設绅紳审審声聲胜勝圣聖师師诗詩\
    时時实實识識势勢试試适適释釋视視寿壽书書输輸属屬术術树樹数數帅帥双雙谁誰顺順说說丝絲饲飼\
    苏蘇诉訴虽雖随隨岁歲孙孫损損缩縮锁鎖态態谈談汤湯讨討题題体體条條贴貼铁鐵厅廳听聽统統头頭\
    图圖团團湾灣万萬网網为為围圍违違维維伟偉卫衛谓謂温溫闻聞稳穩问問务務误誤雾霧无無习習戏戲\
    细細虾蝦吓嚇鲜鮮闲閒显顯险險县縣现現线線宪憲献獻乡鄉详詳响響项項销銷协協谢謝写寫兴興选選\
    学學寻尋训訓讯訊压壓亚亞严嚴验驗阳陽养養样樣药藥业業页頁叶葉医醫仪儀遗遺义義艺藝亿億议議\
    异異译譯阴陰银銀饮飲应應营營赢贏拥擁优優邮郵犹猶鱼魚与與语語预預员員园園圆圓远遠约約阅閱\
    跃躍运運杂雜灾災赞贊脏髒责責择擇则則泽澤贼賊赠贈战戰张張涨漲账賬赵趙这這针針侦偵诊診阵陣\
    镇鎮争爭证證郑鄭织織职職执執纸紙质質终終种種众眾钟鐘昼晝诸諸烛燭嘱囑贮貯驻駐专專转轉赚賺\
    庄莊装裝妆妝壮壯状狀浊濁资資总總纵縱组組钻鑽为爲绩績还還读讀订訂调調载載较較颜顏减減纯純\
    绍紹缓緩续續脚腳忆憶户戶摄攝档檔况況尝嘗够夠婴嬰汇彙别別剂劑唤喚启啓债債储儲侧側俩倆侠俠\
    骗騙隐隱辑輯趋趨账帳猪豬尝嚐衬襯炉爐鲁魯驴驢吕呂铝鋁侣侶屡屢滤濾伦倫纶綸骆駱骡騾玛瑪码碼\
    蚂螞骂罵迈邁脉脈蛮蠻瞒瞞谜謎绵綿缅緬悯憫闽閩铭銘谋謀钠鈉纳納镍鎳聂聶狞獰拧擰柠檸钮鈕纽紐\
    脓膿疟瘧鸥鷗呕嘔抛拋鹏鵬飘飄脐臍岂豈讫訖钎釺牵牽铅鉛乔喬翘翹窃竊钦欽顷頃琼瓊躯軀颧顴绕繞\
    绒絨锐銳萨薩鳃鰓骚騷涩澀纱紗筛篩陕陝慑懾肾腎渗滲绳繩蚀蝕饰飾枢樞赎贖竖豎烁爍硕碩肃肅绥綏\
    笋筍琐瑣獭獺挞撻摊攤滩灘瘫癱坛壇谭譚叹嘆涛濤绦縧腾騰誊謄锑銻铜銅秃禿驮馱驼駝椭橢袜襪弯彎\
    顽頑潍濰韦韋苇葦纬緯纹紋挝撾涡渦窝窩呜嗚钨鎢乌烏诬誣吴吳坞塢牺犧锡錫袭襲峡峽狭狹厦廈纤纖\
    贤賢衔銜馅餡厢廂镶鑲萧蕭潇瀟啸嘯晓曉泻瀉锌鋅衅釁胁脅挟挾携攜谐諧汹洶锈鏽绣繡虚虛嘘噓叙敘\
    绪緒轩軒悬懸癣癬绚絢勋勳询詢驯馴逊遜鸦鴉鸭鴨哑啞讶訝厌厭砚硯艳艷谚諺鸯鴦杨楊扬揚疡瘍遥遙\
    窑窯谣謠爷爺铱銥颐頤诣詣谊誼绎繹荫蔭缨纓鹰鷹蝇蠅莹瑩荧熒萤螢颖穎痈癰咏詠忧憂铀鈾诱誘舆輿\
    渔漁娱娛屿嶼狱獄誉譽渊淵缘緣辕轅钥鑰粤粵悦悅郧鄖匀勻陨隕蕴蘊酝醞晕暈韵韻攒攢暂暫凿鑿枣棗\
    闸閘诈詐斋齋毡氈盏盞斩斬辗輾崭嶄栈棧绽綻胀脹辙轍贞貞睁睜狰猙帧幀挚摯掷擲滞滯肿腫皱皺诌謅\
    铸鑄桩樁锥錐赘贅坠墜缀綴谆諄渍漬踪蹤综綜邹鄒诅詛盐鹽龟龜闺閨诡詭阁閣搁擱鸽鴿铬鉻龚龔巩鞏\
    钩鈎蛊蠱钴鈷贾賈钾鉀歼殲笺箋缄緘碱鹼硷鹸拣揀捡撿俭儉槛檻溅濺涧澗浆漿蒋蔣桨槳骄驕娇嬌搅攪\
    铰鉸矫矯侥僥绞絞饺餃轿轎诫誡届屆谨謹锦錦烬燼荆荊茎莖鲸鯨颈頸静靜痉痙厩廄驹駒锯鋸鹃鵑绢絹\
    诀訣钧鈞骏駿揽攬缆纜滥濫捞撈涝澇镭鐳垒壘泪淚鲤鯉隶隸沥瀝涟漣镰鐮敛斂链鏈凉涼猎獵凛凜赁賃\
    铃鈴馏餾咙嚨笼籠垄壟拢攏陇隴搂摟篓簍芦蘆卢盧颅顱庐廬掳擄卤鹵虏虜赂賂禄祿挛攣孪孿峦巒抡掄\
    仑侖沦淪箩籮锣鑼";
/// Pairs whose simplified character is common in traditional text too (皇后, 公里), so
/// that it tells nothing about the script. Folded for comparison only.
const SHARED_PAIRS: &str = "\
    后後里裡里裏面麵只隻系係台臺干乾干幹余餘谷穀云雲发髮复複历曆钟鍾制製采採卷捲冲衝卜蔔几幾\
    出齣借藉咸鹹志誌岳嶽愿愿周週斗鬥朱硃松鬆板闆向嚮确确征徵致緻折摺刮颳划劃游遊扎紮准準愿願\
    并並范範注註你妳它牠它祂呢吶占佔泞濘凄淒尸屍涂塗洼窪瓮甕羡羨痒癢佣傭踊踴涌湧御禦灶竈症癥\
    筑築挂掛柜櫃茧繭荐薦秸稭洁潔篱籬怜憐帘簾岭嶺";

static TABLE: LazyLock<Vec<(char, char, bool)>> = LazyLock::new(table);
static SIMPLIFIED_ONLY: LazyLock<Vec<char>> = LazyLock::new(simplified_only);

/// Which of the two scripts a text is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Script {
    Simplified,
    Traditional,
}

/// The script of one character, or none when both scripts write it alike.
pub fn script_of(character: char) -> Option<Script> {
    if !super::is_han(character) {
        return None;
    }
    if traditional_entry(character).is_some_and(|(_, _, telling)| telling) {
        return Some(Script::Traditional);
    }
    SIMPLIFIED_ONLY.binary_search(&character).ok().map(|_| Script::Simplified)
}

/// The simplified form of a traditional character; any other character as it is.
pub fn to_simplified(character: char) -> char {
    traditional_entry(character).map_or(character, |(_, simplified, _)| simplified)
}

fn traditional_entry(character: char) -> Option<(char, char, bool)> {
    let found = TABLE.binary_search_by_key(&character, |entry| entry.0).ok()?;
    TABLE.get(found).copied()
}

/// (traditional, simplified, whether it tells the script), sorted by the first.
fn table() -> Vec<(char, char, bool)> {
    let telling = pairs(PAIRS).map(|(simplified, traditional)| (traditional, simplified, true));
    let shared =
        pairs(SHARED_PAIRS).map(|(simplified, traditional)| (traditional, simplified, false));
    let mut entries: Vec<_> = telling.chain(shared).filter(|entry| entry.0 != entry.1).collect();
    entries.sort_by_key(|entry| (entry.0, !entry.2));
    entries.dedup_by_key(|entry| entry.0);
    entries
}

fn simplified_only() -> Vec<char> {
    let shared: Vec<char> = pairs(SHARED_PAIRS).map(|(simplified, _)| simplified).collect();
    let mut found: Vec<char> = pairs(PAIRS)
        .map(|(simplified, _)| simplified)
        .filter(|simplified| !shared.contains(simplified))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn pairs(table: &str) -> impl Iterator<Item = (char, char)> {
    let simplified = table.chars().step_by(2);
    simplified.zip(table.chars().skip(1).step_by(2))
}

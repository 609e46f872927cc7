//! Endpoints: media.

use serde_json::json;

use super::{
    Refused,
    serve::{Answer, Req},
    world::World,
};

pub(super) fn reserve(world: &mut World, _req: &Req) -> Result<Answer, Refused> {
    let id = world.fresh().replace(['-', '_'], "x");
    let mxc = format!("mxc://{}/{}", world.config.server, &id[..24]);
    world.media.insert(mxc.clone(), None);
    Ok(Answer::Json(json!({ "content_uri": mxc })))
}

pub(super) fn upload(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let mxc = format!("mxc://{}/{}", req.args[0], req.args[1]);
    match world.media.get_mut(&mxc) {
        None => Err(Refused::not_found("Media ID is not known")),
        Some(Some(_)) => Err(Refused::new(
            409,
            "M_CANNOT_OVERWRITE_MEDIA",
            "Media ID already has content",
        )),
        Some(file) => {
            *file = Some((req.body.to_vec(), req.content_type.clone()));
            Ok(Answer::Json(json!({})))
        }
    }
}

pub(super) fn download(world: &mut World, req: &Req) -> Result<Answer, Refused> {
    let mxc = format!("mxc://{}/{}", req.args[0], req.args[1]);
    match world.media.get(&mxc) {
        None => Err(Refused::not_found("Not found")),
        Some(None) => Err(Refused::new(
            504,
            "M_NOT_YET_UPLOADED",
            "Media has not been uploaded yet",
        )),
        Some(Some((bytes, content_type))) => Ok(Answer::File(bytes.clone(), content_type.clone())),
    }
}
